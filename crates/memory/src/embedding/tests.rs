use serde_json::json;

use super::tiny::safetensors;
use super::*;

/// A model of few words: see [`tiny::files`].
pub(crate) fn model(rows: &[&[&str]]) -> Embeddings {
    let (tokenizer, table) = tiny::files(rows);
    Embeddings::read(&tokenizer, &table).expect("it is a model")
}

fn cosine(model: &Embeddings, one: &str, other: &str) -> f64 {
    let [one, other] = [one, other].map(|text| model.vector(text).expect("it means something"));
    let parts: Vec<u8> = other.parts().iter().map(|part| part.cast_unsigned()).collect();
    Direction::of(&one).cosine(&parts, other.square())
}

#[test]
fn texts_that_mean_the_same_have_the_same_direction() {
    let model = model(&[&["tea", "coffee"], &["cat", "dog"]]);
    assert_eq!(cosine(&model, "tea", "coffee"), 1.0);
    assert_eq!(cosine(&model, "tea", "dog"), 0.0);
    assert!((cosine(&model, "tea", "coffee with a cat") - 0.5_f64.sqrt()).abs() < 0.001);
    assert_eq!(model.vector("nothing of it"), None);
    assert_eq!(model.vector(""), None);
}

#[test]
fn a_name_is_of_one_model_alone() {
    let one = model(&[&["tea"], &["cat"]]);
    assert_eq!(one.name(), model(&[&["tea"], &["cat"]]).name());
    assert_ne!(one.name(), model(&[&["cat"], &["tea"]]).name());
    assert!(one.name().starts_with("static-2-") && one.name().len() == 21, "{}", one.name());
}

#[test]
fn of_a_long_text_the_start_counts() {
    let model = model(&[&["tea"], &["cat"]]);
    let long = format!("tea{} cat", "é".repeat(4_095));
    assert_eq!(cosine(&model, "tea", &format!("tea {long}")), 1.0);
}

#[test]
fn earlier_rules_join_first_and_unknown_characters_are_bytes() {
    let vocabulary: Vec<String> = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")).collect();
    let more = ["▁", "a", "b", "c", "ab", "bc", "▁a", "▁ab", "▁▁"].map(str::to_owned);
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        vocabulary.into_iter().chain(more).enumerate().map(|(id, token)| (token, id.into())).collect();
    let merges = json!(["b c", ["a", "b"], "▁ a", "▁ ab", "▁ ▁"]);
    let model = json!({ "type": "BPE", "byte_fallback": true, "vocab": vocabulary, "merges": merges });
    let tokenizer = Tokenizer::read(json!({ "model": model }).to_string().as_bytes()).expect("a tokenizer");
    let id = |token: &str| u32::try_from(vocabulary[token].as_u64().unwrap()).unwrap();
    let of = |text: &str| tokenizer.tokens_of(text);
    assert_eq!(of("abc"), [id("▁a"), id("bc")]);
    assert_eq!(of("ab b"), [id("▁ab"), id("▁"), id("b")]);
    assert_eq!(of(" a"), [id("▁"), id("▁a")]);
    assert_eq!(of("  b"), [id("▁▁"), id("▁"), id("b")], "the leftmost first");
    assert_eq!(of("é"), [id("▁"), 0xC3, 0xA9]);
    assert_eq!(of(""), [0_u32; 0]);
}

#[test]
fn what_is_no_model_says_why() {
    let table = safetensors("F32", &[1, 1], &[1.0]);
    let of = |json: serde_json::Value| {
        let error = Embeddings::read(json.to_string().as_bytes(), &table).expect_err("no model");
        std::error::Error::source(&error).map_or(error.to_string(), ToString::to_string)
    };
    assert_eq!(of(json!([])), "it is no tokenizer in JSON");
    let model = json!({ "type": "WordPiece", "vocab": {}, "merges": [] });
    assert!(of(json!({ "model": model })).contains("has to be byte-pair encoding"));
    let model = json!({ "type": "BPE", "vocab": {}, "merges": [] });
    assert!(of(json!({ "model": model })).contains("a token for each byte"));
    let bytes: serde_json::Map<String, serde_json::Value> =
        (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), byte.into())).collect();
    let model = json!({ "type": "BPE", "byte_fallback": true, "vocab": bytes, "merges": ["a b"] });
    assert_eq!(of(json!({ "model": model })), "its rule 0 joins to what is no token");
    let model = json!({ "type": "BPE", "byte_fallback": true, "vocab": bytes, "merges": [] });
    assert_eq!(
        of(json!({ "model": model })),
        "the tokenizer has 256 tokens, the table has vectors for 1: they are of two models"
    );
}
