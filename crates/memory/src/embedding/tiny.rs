//! A model of few words, as the files in which models are published: for tests.

use serde_json::{Map, Value, json};

/// A table as it is published.
pub(crate) fn safetensors(kind: &str, shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let tensor = json!({ "dtype": kind, "shape": shape, "data_offsets": [0, data.len()] });
    let header = json!({ "weights": tensor, "__metadata__": { "format": "pt" } }).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// A tokenizer and its table. The words of each row mean the same, a dimension for each row, and
/// nothing else means anything.
pub(crate) fn files(rows: &[&[&str]]) -> (Vec<u8>, Vec<u8>) {
    let mut vocabulary: Vec<String> = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>")).collect();
    let (mut merges, mut meanings) = (Vec::new(), vec![None; vocabulary.len()]);
    for (row, words) in rows.iter().enumerate() {
        for word in *words {
            let mut known = String::new();
            for char in format!("▁{word}").chars() {
                let char = char.to_string();
                if !known.is_empty() {
                    merges.push(format!("{known} {char}"));
                }
                known.push_str(&char);
                for token in [char, known.clone()] {
                    if !vocabulary.contains(&token) {
                        vocabulary.push(token);
                        meanings.push(None);
                    }
                }
            }
            let place = vocabulary.iter().position(|token| *token == known).expect("just added");
            meanings[place] = Some(row);
        }
    }
    let ids: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let tokenizer =
        json!({ "model": { "type": "BPE", "byte_fallback": true, "vocab": ids, "merges": merges } });
    let numbers: Vec<f32> = meanings
        .iter()
        .flat_map(|meaning| (0..rows.len()).map(move |row| if *meaning == Some(row) { 1.0 } else { 0.0 }))
        .collect();
    (tokenizer.to_string().into_bytes(), safetensors("F32", &[vocabulary.len(), rows.len()], &numbers))
}
