//! `#[actor]`: a struct as the state of an actor type.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, ItemStruct, LitInt, LitStr, Path, Result, Token, parenthesized};

/// Bytes of an actor type's name; `kelpie-core` has the same limit.
const NAME_BYTES_MAX: usize = 64;

/// What stands in the attribute.
struct Arguments {
    name: LitStr,
    version: (u32, Span),
    upgrades: Vec<Upgrade>,
    near: Option<Path>,
    label: Option<LitStr>,
}

/// `1 => from_v1`
struct Upgrade {
    from: u32,
    span: Span,
    function: Path,
}

impl Parse for Upgrade {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let from: LitInt = input.parse()?;
        input.parse::<Token![=>]>()?;
        Ok(Self { from: from.base10_parse()?, span: from.span(), function: input.parse()? })
    }
}

enum Argument {
    Name(LitStr),
    Version(u32, Span),
    Upgrades(Vec<Upgrade>),
    Near(Path),
    Label(LitStr),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let which: Ident = input.parse()?;
        if which == "name" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Name(input.parse()?));
        }
        if which == "version" {
            input.parse::<Token![=]>()?;
            let version: LitInt = input.parse()?;
            return Ok(Self::Version(version.base10_parse()?, version.span()));
        }
        if which == "near" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Near(input.parse()?));
        }
        if which == "label" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Label(input.parse()?));
        }
        if which == "upgrades" {
            let list;
            parenthesized!(list in input);
            let upgrades = Punctuated::<Upgrade, Token![,]>::parse_terminated(&list)?;
            return Ok(Self::Upgrades(upgrades.into_iter().collect()));
        }
        Err(Error::new(
            which.span(),
            "an actor has a `name`, a `version`, `upgrades(…)`, `near` and a `label`",
        ))
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let here = input.span();
        let (mut name, mut version, mut upgrades) = (None, None, Vec::new());
        let (mut near, mut label) = (None, None);
        for argument in Punctuated::<Argument, Token![,]>::parse_terminated(input)? {
            match argument {
                Argument::Name(text) => name = Some(text),
                Argument::Version(number, span) => version = Some((number, span)),
                Argument::Upgrades(functions) => upgrades = functions,
                Argument::Near(actor) => near = Some(actor),
                Argument::Label(text) => label = Some(text),
            }
        }
        let name = name.ok_or_else(|| {
            Error::new(here, "an actor has a name: `#[actor(name = \"counter\", version = 1)]`")
        })?;
        let version = version.ok_or_else(|| {
            Error::new(here, "an actor's state has a version: `#[actor(name = \"…\", version = 1)]`")
        })?;
        let arguments = Self { name, version, upgrades, near, label };
        arguments.check()?;
        Ok(arguments)
    }
}

impl Arguments {
    fn of_nobody() -> Self {
        let here = Span::call_site();
        let name = LitStr::new("", here);
        Self { name, version: (0, here), upgrades: Vec::new(), near: None, label: None }
    }

    fn check(&self) -> Result<()> {
        let name = self.name.value();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let problem =
                format!("an actor's name has 1 to {NAME_BYTES_MAX} bytes, none of them control characters");
            return Err(Error::new(self.name.span(), problem));
        }
        let (version, span) = self.version;
        if version == 0 {
            return Err(Error::new(span, "versions begin with 1"));
        }
        for (index, upgrade) in self.upgrades.iter().enumerate() {
            if upgrade.from == 0 || upgrade.from >= version {
                let problem = format!("an upgrade leads from a version before {version}");
                return Err(Error::new(upgrade.span, problem));
            }
            if self.upgrades[..index].iter().any(|before| before.from == upgrade.from) {
                let problem = format!("there are two upgrades from version {}", upgrade.from);
                return Err(Error::new(upgrade.span, problem));
            }
        }
        for from in 1..version {
            if !self.upgrades.iter().any(|upgrade| upgrade.from == from) {
                let problem = format!(
                    "state that version {from} has stored needs an upgrade: `upgrades({from} => a_function)`"
                );
                return Err(Error::new(span, problem));
            }
        }
        Ok(())
    }
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item: ItemStruct = match syn::parse2(item) {
        Ok(item) => item,
        Err(error) => {
            let problem = "`#[actor]` stands on a struct: the actor's state";
            return Error::new(error.span(), problem).into_compile_error();
        }
    };
    if !item.generics.params.is_empty() {
        let problem = "an actor has no type parameters: its name is one type's";
        let error = Error::new_spanned(&item.generics, problem).into_compile_error();
        return quote!(#item #error);
    }
    let (arguments, error) = match syn::parse2::<Arguments>(arguments) {
        Ok(arguments) => (arguments, None),
        // It stays an actor, so that this is the only error.
        Err(error) => (Arguments::of_nobody(), Some(error.into_compile_error())),
    };
    let state = write(&arguments, &item.ident);
    quote!(#item #state #error)
}

fn write(arguments: &Arguments, actor: &Ident) -> TokenStream {
    let Arguments { name, version: (version, _), upgrades, near, label } = arguments;
    let arms = upgrades.iter().map(|Upgrade { from, function, .. }| quote!(#from => stored.with(#function),));
    let some = quote!(::core::option::Option::Some);
    let near = near.iter().map(|near| {
        quote!(const NEAR: ::core::option::Option<&'static str> = #some(<#near as ::kelpie::State>::TYPE);)
    });
    let label =
        label.iter().map(|label| quote!(const LABEL: ::core::option::Option<&'static str> = #some(#label);));
    quote! {
        impl ::kelpie::State for #actor {
            const TYPE: &'static str = #name;
            const VERSION: u32 = #version;
            #(#near)*
            #(#label)*

            fn upgrade(
                stored: ::kelpie::Stored<'_>,
            ) -> ::core::result::Result<Self, ::kelpie::Misfit> {
                match stored.version() {
                    #(#arms)*
                    _ => ::core::result::Result::Err(stored.no_upgrade()),
                }
            }
        }
    }
}
