use futures::FutureExt;
use kelpie_env::{Env, real};

use super::VariablesError;
use crate::models::Models;
use crate::provider::{ModelError, ModelRequest, Patience, PromptMessage, Scripted};

fn env() -> (tokio::runtime::Runtime, Env) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let env = real::env_on(runtime.handle());
    (runtime, env)
}

fn found(variables: &[(&str, &str)]) -> Result<Models, VariablesError> {
    let (_runtime, env) = env();
    Models::from_variables(&env, Patience::default(), |name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

/// Names and default model, which for these needs no network.
fn shown(variables: &[(&str, &str)]) -> String {
    let models = found(variables).unwrap();
    let model = models.default_model().now_or_never().expect("asks nobody").unwrap();
    format!("{} -> {model}", models.provider_names().join(", "))
}

#[test]
fn variables_decide_what_there_is() {
    insta::assert_snapshot!(shown(&[]), @"offline -> offline/scripted");
    insta::assert_snapshot!(shown(&[("ANTHROPIC_API_KEY", ""), ("OPENAI_API_KEY", "  ")]), @"offline -> offline/scripted");
    insta::assert_snapshot!(shown(&[("OPENAI_API_KEY", "k")]), @"openai, offline -> openai/gpt-4.1-mini");
    insta::assert_snapshot!(shown(&[("OPENAI_API_KEY", "k"), ("ANTHROPIC_API_KEY", "k")]), @"anthropic, openai, offline -> anthropic/claude-sonnet-4-5");
    let local = ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1");
    insta::assert_snapshot!(shown(&[local, ("KELPIE_MODEL", "openai/qwen3:4b")]), @"openai, offline -> openai/qwen3:4b");
    insta::assert_snapshot!(shown(&[("OPENAI_API_KEY", "k"), ("KELPIE_MODEL", "offline/scripted")]), @"openai, offline -> offline/scripted");
}

#[test]
fn values_that_cannot_be_used_are_told_without_their_key() {
    let error = |variables: &[(&str, &str)]| found(variables).unwrap_err().to_string();
    insta::assert_snapshot!(error(&[("OPENAI_BASE_URL", "127.0.0.1:11434")]), @"OPENAI_BASE_URL is not an http:// or https:// address: relative URL without a base");
    insta::assert_snapshot!(error(&[("OPENAI_BASE_URL", "ftp://x")]), @"OPENAI_BASE_URL is not an http:// or https:// address: it begins with ftp:");
    insta::assert_snapshot!(error(&[("ANTHROPIC_API_KEY", "sk-se\ncret")]), @"the model provider of ANTHROPIC_API_KEY cannot be used: the key has characters that no HTTP header can carry");
    insta::assert_snapshot!(error(&[("OPENAI_API_KEY", "k"), ("OPENAI_TOOL_MODE", "xml")]), @r#"OPENAI_TOOL_MODE is "xml"; it can be native or json_schema"#);
    insta::assert_snapshot!(error(&[("KELPIE_MODEL", "openai/gpt-4.1")]), @r#"KELPIE_MODEL is "openai/gpt-4.1", but there are only models of: offline"#);
}

#[test]
fn keys_are_not_printed() {
    let models = found(&[("ANTHROPIC_API_KEY", "sk-secret-a"), ("OPENAI_API_KEY", "sk-secret-o")]).unwrap();
    assert!(!format!("{models:?}").contains("secret"));
    let secret = crate::provider::secret::Secret::new("sk-secret".to_owned());
    assert_eq!(format!("{secret:?}"), "***");
}

#[test]
fn a_handle_finds_its_provider() {
    let (_runtime, env) = env();
    let models = Models::new(env, vec![std::sync::Arc::new(Scripted)], None);
    let ask = |model: &str| {
        let messages = vec![PromptMessage::user("hello")];
        let request = ModelRequest { model: model.to_owned(), messages, ..ModelRequest::default() };
        models.complete(&request, &mut drop).now_or_never().expect("no network")
    };
    assert!(ask("offline/scripted").is_ok());
    for handle in ["offline/other", "openai/gpt-4.1", "gpt-4.1", "offline/", ""] {
        assert!(matches!(ask(handle), Err(ModelError::NoSuchModel { .. })), "{handle}");
    }
}
