//! The parameters behind the `?` of a request.
//!
//! Lists come as repeated names (`tags=a&tags=b`). Unknown names are ignored, as clients send
//! filters for things that this server does not have; known ones must have their kind.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use kelpie_agent::query::{Order, PAGE_MAX, Page};
use kelpie_api::error::{Issue, Place};

use crate::error::HttpError;

/// All parameters, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let query = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let pairs = query.map_err(|rejection| {
            HttpError::issue(["query".into()], "query_invalid", rejection.body_text())
        })?;
        Ok(Self(pairs.0))
    }
}

impl Parameters {
    /// Parameters of a test.
    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Reads typed values out of the parameters and collects what is wrong with them.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { parameters: self, issues: Vec::new() }
    }
}

/// Reads typed values and remembers every problem, so that one answer names them all.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    parameters: &'a Parameters,
    issues: Vec<Issue>,
}

impl Reader<'_> {
    /// The last value of a name; an empty one counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let value =
            self.parameters.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)?;
        (!value.is_empty()).then(|| value.clone())
    }

    /// The last value of a name that must be there.
    pub(crate) fn required(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.problem(name, "missing", "Field required");
            String::new()
        })
    }

    /// A whole number above zero.
    pub(crate) fn number(&mut self, name: &str) -> Option<usize> {
        let number = self.text(name)?.parse::<usize>().ok().filter(|number| *number > 0);
        if number.is_none() {
            self.problem(name, "int_parsing", "Input should be a whole number above zero");
        }
        number
    }

    /// All values of a name.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.parameters.0.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.clone()).filter(|value| !value.is_empty()).collect()
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.problem(name, "bool_parsing", "Input should be true or false");
                default
            }
        }
    }

    /// A page of at most `limit` things if the client does not say how many.
    pub(crate) fn page(&mut self, limit: usize) -> Page {
        let order = self.order();
        let limit = match self.text("limit").map(|text| text.parse::<i64>()) {
            None => limit,
            Some(Ok(asked)) if asked >= 1 => {
                usize::try_from(asked).map_or(PAGE_MAX, |asked| asked.min(PAGE_MAX))
            }
            Some(Ok(_)) => {
                self.problem("limit", "greater_than_equal", "Input should be greater than or equal to 1");
                limit
            }
            Some(Err(_)) => {
                self.problem("limit", "int_parsing", "Input should be a whole number");
                limit
            }
        };
        Page { before: self.text("before"), after: self.text("after"), limit, order }
    }

    /// Ends the reading; an error names everything that was wrong.
    pub(crate) fn finish(self) -> Result<(), HttpError> {
        if self.issues.is_empty() { Ok(()) } else { Err(HttpError::issues(self.issues)) }
    }

    /// `order`, or the older `ascending`.
    fn order(&mut self) -> Order {
        match self.text("order").as_deref() {
            Some("asc") => Order::Ascending,
            Some("desc") => Order::Descending,
            None if self.flag("ascending", false) => Order::Ascending,
            None => Order::Descending,
            Some(_) => {
                self.problem("order", "literal_error", "Input should be 'asc' or 'desc'");
                Order::Descending
            }
        }
    }

    /// Remembers that a parameter is wrong.
    pub(crate) fn problem(&mut self, name: &str, kind: &str, msg: &str) {
        let loc: Vec<Place> = vec!["query".into(), name.into()];
        self.issues.push(Issue { loc, msg: msg.to_owned(), kind: kind.to_owned() });
    }
}

/// The part of a whole list, already in its order, that a page asks for. `before` without
/// `after` asks for the things next to that id, not for the first ones of the list.
pub(crate) fn cut<T>(mut list: Vec<T>, page: &Page, id: impl Fn(&T) -> &String) -> Vec<T> {
    let position = |cursor: &Option<String>, list: &[T]| {
        cursor.as_ref().and_then(|cursor| list.iter().position(|thing| id(thing) == cursor))
    };
    if let Some(end) = position(&page.before, &list) {
        list.truncate(end);
    }
    if let Some(start) = position(&page.after, &list) {
        list.drain(..=start);
    }
    if page.before.is_some() && page.after.is_none() {
        list.drain(..list.len().saturating_sub(page.limit));
    } else {
        list.truncate(page.limit);
    }
    list
}
