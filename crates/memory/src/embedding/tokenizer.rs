//! Texts as tokens: byte-pair encoding over whole words, where a blank is the start of a word.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use serde::Deserialize;
use serde_json::Value;

/// What stands for a blank.
const BLANK: char = '▁';

/// How texts become tokens.
#[derive(Debug)]
pub(super) struct Tokenizer {
    tokens: usize,
    chars: HashMap<char, u32>,
    /// The tokens of single bytes, for characters that have none.
    bytes: Vec<u32>,
    /// For two tokens beside each other: how early they are joined, and to which.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

/// A tokenizer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// It cannot be read.
    #[error("it is no tokenizer in JSON")]
    Json(#[from] serde_json::Error),
    /// It is of another kind.
    #[error("it is of a kind that is not supported: {what}")]
    Kind {
        /// What is other than it has to be.
        what: &'static str,
    },
    /// A rule speaks of a token that is not there.
    #[error("its rule {rule} joins to what is no token")]
    Rule {
        /// Its number, from 0.
        rule: usize,
    },
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    byte_fallback: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rule {
    Text(String),
    Pair(String, String),
}

impl Tokenizer {
    pub(super) fn read(json: &[u8]) -> Result<Self, TokenizerError> {
        let File { pre_tokenizer, model } = serde_json::from_slice(json)?;
        let kind = |what| TokenizerError::Kind { what };
        if model.kind != "BPE" || !pre_tokenizer.is_null() {
            return Err(kind("it has to be byte-pair encoding (`BPE`) with nothing before it"));
        }
        let byte = |byte: u8| model.vocab.get(&format!("<0x{byte:02X}>")).copied();
        let bytes: Vec<u32> = (0..=u8::MAX).filter_map(byte).collect();
        if !model.byte_fallback || bytes.len() != 256 {
            return Err(kind("it has to have a token for each byte (`byte_fallback`)"));
        }
        let mut merges = HashMap::with_capacity(model.merges.len());
        for (rule, pair) in model.merges.iter().enumerate() {
            let (left, right) = match pair {
                Rule::Text(text) => text.split_once(' ').ok_or(TokenizerError::Rule { rule })?,
                Rule::Pair(left, right) => (left.as_str(), right.as_str()),
            };
            let id = |token: &str| model.vocab.get(token).copied().ok_or(TokenizerError::Rule { rule });
            let order = u32::try_from(rule).map_err(|_| TokenizerError::Rule { rule })?;
            let joined = id(&format!("{left}{right}"))?;
            merges.entry((id(left)?, id(right)?)).or_insert((order, joined));
        }
        let mut chars = HashMap::new();
        let mut tokens = 0;
        for (token, id) in model.vocab {
            tokens = tokens.max(id as usize + 1);
            if token.trim_start_matches(BLANK).contains(BLANK) {
                return Err(kind("no token may go beyond the end of a word"));
            }
            let mut rest = token.chars();
            if let (Some(char), None) = (rest.next(), rest.next()) {
                chars.insert(char, id);
            }
        }
        Ok(Self { tokens, chars, bytes, merges })
    }

    /// How many there are.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The tokens of a text, in its order.
    pub(super) fn tokens_of(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        if text.is_empty() {
            return tokens;
        }
        let text = format!("{BLANK}{}", text.replace(' ', "▁"));
        // No token goes beyond the end of a word, so each word is a task of its own.
        let mut word = String::new();
        for char in text.chars() {
            if char == BLANK && !word.ends_with(BLANK) {
                self.add_word(&word, &mut tokens);
                word.clear();
            }
            word.push(char);
        }
        self.add_word(&word, &mut tokens);
        tokens
    }

    fn add_word(&self, word: &str, tokens: &mut Vec<u32>) {
        let mut parts: Vec<Part> = Vec::new();
        for char in word.chars() {
            let mut buffer = [0; 4];
            match self.chars.get(&char) {
                Some(token) => parts.push(Part::new(*token, parts.len())),
                None => {
                    for byte in char.encode_utf8(&mut buffer).bytes() {
                        parts.push(Part::new(self.bytes[usize::from(byte)], parts.len()));
                    }
                }
            }
        }
        self.join(&mut parts);
        tokens.extend(parts.iter().filter(|part| !part.gone).map(|part| part.token));
    }

    /// Joins neighbours, those of the earliest rule first, until no rule fits.
    fn join(&self, parts: &mut [Part]) {
        let mut ready: BinaryHeap<Reverse<Joint>> = BinaryHeap::new();
        for left in 1..parts.len() {
            ready.extend(self.joint(parts, left - 1));
        }
        while let Some(Reverse(joint)) = ready.pop() {
            let left = joint.left;
            // Something else was joined here meanwhile.
            if parts[left].gone || self.joint(parts, left) != Some(Reverse(joint)) {
                continue;
            }
            let right = parts[left].next;
            parts[left].token = joint.token;
            parts[left].next = parts[right].next;
            parts[right].gone = true;
            if let Some(after) = parts.get_mut(parts[left].next) {
                after.before = Some(left);
            }
            ready.extend(self.joint(parts, left));
            ready.extend(parts[left].before.and_then(|before| self.joint(parts, before)));
        }
    }

    /// What can be joined at a place.
    fn joint(&self, parts: &[Part], left: usize) -> Option<Reverse<Joint>> {
        let right = parts.get(parts[left].next)?;
        let (order, token) = *self.merges.get(&(parts[left].token, right.token))?;
        Some(Reverse(Joint { order, left, token }))
    }
}

/// A token of a word that is being put together.
struct Part {
    token: u32,
    before: Option<usize>,
    next: usize,
    /// It was joined to the one before it.
    gone: bool,
}

impl Part {
    fn new(token: u32, place: usize) -> Self {
        Self { token, before: place.checked_sub(1), next: place + 1, gone: false }
    }
}

/// Two neighbours that a rule joins: the earliest rule first, then the leftmost place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Joint {
    order: u32,
    left: usize,
    token: u32,
}
