//! One handler: what its signature says.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, ImplItemFn, LitStr, Pat, PatType, Receiver, Result, ReturnType, Signature, Type,
};

/// A method that is a handler.
pub(crate) struct Handler {
    /// The method.
    pub(crate) method: Ident,
    /// Its name for callers.
    pub(crate) name: LitStr,
    /// Whether it only reads.
    pub(crate) reads: bool,
    documentation: Vec<Attribute>,
    arguments: Vec<Argument>,
    /// What it is given besides them, for errors at the user's line.
    context: Span,
    returns: TokenStream,
}

struct Argument {
    name: Ident,
    ty: TokenStream,
    serde: Vec<Attribute>,
}

impl Handler {
    /// Reads a method and takes out of it what only this macro understands. `actor` stands for
    /// `Self`.
    pub(crate) fn read(method: &mut ImplItemFn, actor: &TokenStream) -> Result<Self> {
        let name = name(method)?;
        let reads = reads(&method.sig)?;
        let signature = &mut method.sig;
        if signature.asyncness.is_none() {
            let problem = "a handler is async; a method that is no handler is not `pub`";
            return Err(Error::new(signature.fn_token.span(), problem));
        }
        if let Some(parameter) = signature.generics.params.first() {
            let problem =
                "a handler has no type parameters and no named lifetimes: its callers are elsewhere";
            return Err(Error::new_spanned(parameter, problem));
        }
        let context = context(signature, reads)?;
        let mut arguments = Vec::new();
        for input in signature.inputs.iter_mut().skip(2) {
            let FnArg::Typed(input) = input else { continue };
            arguments.push(argument(input, actor)?);
        }
        let returns = match &signature.output {
            ReturnType::Type(_, ty) => without_self(ty.to_token_stream(), actor),
            ReturnType::Default => {
                let problem = "a handler returns `kelpie::Result<…>`: `Result<()>` if it has nothing to say";
                return Err(Error::new(signature.ident.span(), problem));
            }
        };
        let documentation = method.attrs.iter().filter(|a| a.path().is_ident("doc")).cloned().collect();
        let method = method.sig.ident.clone();
        Ok(Self { method, name, reads, documentation, arguments, context, returns })
    }

    /// The arm that reads the arguments and runs the method.
    pub(crate) fn arm(&self, context: &Ident, payload: &Ident) -> TokenStream {
        let Self { method, name, .. } = self;
        let names: Vec<&Ident> = self.arguments.iter().map(|argument| &argument.name).collect();
        let (structure, ty) = self.structure("Deserialize");
        // What does not fit is shown where the user has written it.
        let context = Ident::new(&context.to_string(), context.span().located_at(self.context));
        let run = quote_spanned! {self.returns.span()=>
            ::kelpie::__private::reply(#name, self.#method(#context, #(#names),*).await)
        };
        quote! {
            #name => {
                #structure
                let #ty { #(#names),* } = ::kelpie::__private::arguments(#name, #payload)?;
                #run
            }
        }
    }

    /// The method of the client.
    pub(crate) fn of_client(&self) -> TokenStream {
        let Self { method, name, documentation, returns, .. } = self;
        let names: Vec<&Ident> = self.arguments.iter().map(|argument| &argument.name).collect();
        let types = self.arguments.iter().map(|argument| &argument.ty);
        let (structure, ty) = self.structure("Serialize");
        let kind = if self.reads { quote!(Reads) } else { quote!(Changes) };
        let generic = format_ident!("V");
        let at = shown_at(returns.span());
        let invoked = quote_spanned! {at=>
            ::kelpie::Invocation<
                #generic,
                <#returns as ::kelpie::__private::Outcome>::Reply,
                <#returns as ::kelpie::__private::Outcome>::Refusal,
                ::kelpie::#kind,
            >
        };
        let invocation = quote_spanned! {returns.span()=>
            self.target.invocation(#name, &#ty { #(#names),* })
        };
        quote! {
            #(#documentation)*
            pub fn #method(&self, #(#names: #types),*) -> #invoked {
                #structure
                #invocation
            }
        }
    }

    /// A struct of the arguments, by name, with an implementation of this trait of `serde`.
    fn structure(&self, derive: &str) -> (TokenStream, Ident) {
        let ty = format_ident!("Arguments");
        // A derive says all its errors at one place: at the first argument rather than at the macro.
        let at = shown_at(self.arguments.first().map_or(self.context, |argument| argument.ty.span()));
        let derive = Ident::new(derive, at);
        let derive = quote_spanned!(at=> ::kelpie::__private::serde::#derive);
        let fields = self.arguments.iter().map(|Argument { name, ty, serde }| quote!(#(#serde)* #name: #ty));
        let structure = quote! {
            #[derive(#derive)]
            #[serde(crate = "::kelpie::__private::serde")]
            struct #ty { #(#fields),* }
        };
        (structure, ty)
    }
}

/// Of this macro, and shown where the user has written what it is about.
fn shown_at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// The name for callers: the method's, or that of `#[handler(name = "…")]`.
fn name(method: &mut ImplItemFn) -> Result<LitStr> {
    let mut name = LitStr::new(&method.sig.ident.to_string(), method.sig.ident.span());
    let mut problem = None;
    method.attrs.retain(|attribute| {
        if !attribute.path().is_ident("handler") {
            return true;
        }
        let parsed = attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("name") {
                return Err(meta.error("a handler has a `name`"));
            }
            name = meta.value()?.parse()?;
            Ok(())
        });
        problem = problem.take().or(parsed.err());
        false
    });
    match problem {
        Some(problem) => Err(problem),
        None if name.value().is_empty() || name.value().len() > 64 || name.value().starts_with('$') => {
            Err(Error::new(name.span(), "a handler's name has 1 to 64 bytes and does not start with `$`"))
        }
        None => Ok(name),
    }
}

/// Whether the method reads: by its `self`.
fn reads(signature: &Signature) -> Result<bool> {
    match signature.inputs.first() {
        Some(FnArg::Receiver(Receiver { reference: Some(_), mutability, colon_token: None, .. })) => {
            Ok(mutability.is_none())
        }
        Some(FnArg::Receiver(receiver)) => {
            Err(Error::new_spanned(receiver, "a handler takes `&mut self`, or `&self` if it only reads"))
        }
        Some(FnArg::Typed(_)) | None => Err(Error::new(
            signature.ident.span(),
            "a handler takes `&mut self`, or `&self` if it only reads; a function that is no handler is not `pub`",
        )),
    }
}

/// Where the method takes its turn or its view.
fn context(signature: &Signature, reads: bool) -> Result<Span> {
    let expected = if reads {
        "a handler with `&self` takes `view: &View` next"
    } else {
        "a handler with `&mut self` takes `cx: &mut Turn` next"
    };
    let Some(FnArg::Typed(PatType { ty, .. })) = signature.inputs.iter().nth(1) else {
        return Err(Error::new(signature.ident.span(), expected));
    };
    let Type::Reference(reference) = &**ty else { return Err(Error::new_spanned(ty, expected)) };
    let wrong = if reads { "Turn" } else { "View" };
    let Type::Path(path) = &*reference.elem else { return Err(Error::new_spanned(ty, expected)) };
    let is_wrong = path.path.segments.last().is_some_and(|last| last.ident == wrong);
    if is_wrong || reference.mutability.is_some() == reads {
        return Err(Error::new_spanned(ty, expected));
    }
    Ok(ty.span())
}

fn argument(input: &mut PatType, actor: &TokenStream) -> Result<Argument> {
    let Pat::Ident(pattern) = &*input.pat else {
        return Err(Error::new_spanned(&input.pat, "an argument has a name: callers use it"));
    };
    if matches!(&*input.ty, Type::Reference(_)) {
        return Err(Error::new_spanned(&input.ty, "an argument is owned: it comes from another process"));
    }
    if matches!(&*input.ty, Type::ImplTrait(_) | Type::TraitObject(_) | Type::Infer(_)) {
        return Err(Error::new_spanned(&input.ty, "an argument has one type: its callers are elsewhere"));
    }
    let serde = input.attrs.iter().filter(|a| a.path().is_ident("serde")).cloned().collect();
    input.attrs.retain(|attribute| !attribute.path().is_ident("serde"));
    let ty = without_self(input.ty.to_token_stream(), actor);
    Ok(Argument { name: pattern.ident.clone(), ty, serde })
}

/// The client is another type, so `Self` means something else there.
fn without_self(tokens: TokenStream, actor: &TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(ref ident) if ident == "Self" => actor.clone(),
            TokenTree::Group(group) => {
                let mut inner =
                    proc_macro2::Group::new(group.delimiter(), without_self(group.stream(), actor));
                inner.set_span(group.span());
                TokenTree::Group(inner).into()
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => token.into(),
        })
        .collect()
}
