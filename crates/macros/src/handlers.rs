//! `#[handlers]`: the public methods of an impl block as the handlers of an actor.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Error, Ident, ImplItem, ImplItemFn, ItemImpl, Result, Type, Visibility, parse_quote};

use crate::handler::Handler;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return Error::new_spanned(arguments, "`#[handlers]` has no arguments").into_compile_error();
    }
    match syn::parse2(item) {
        Ok(mut item) => {
            // The methods stay in any case, so that what is right does not look wrong.
            let impls = write(&mut item).unwrap_or_else(Error::into_compile_error);
            quote!(#item #impls)
        }
        Err(error) => {
            Error::new(error.span(), "`#[handlers]` stands on an `impl` block").into_compile_error()
        }
    }
}

fn write(item: &mut ItemImpl) -> Result<TokenStream> {
    let actor = actor(item)?;
    let ty = item.self_ty.to_token_stream();
    let mut handlers: Vec<Handler> = Vec::new();
    let mut problems: Option<Error> = None;
    for method in item.items.iter_mut().filter_map(public_method) {
        let handler = Handler::read(method, &ty).and_then(|handler| once(&handlers, handler));
        match handler {
            Ok(handler) => {
                // A handler is async whether or not it waits, and public whoever sees the actor.
                let allow = format_ident!("allow");
                method.attrs.push(parse_quote!(#[#allow(clippy::unused_async, unreachable_pub)]));
                handlers.push(handler);
            }
            Err(problem) => match &mut problems {
                Some(problems) => problems.combine(problem),
                None => problems = Some(problem),
            },
        }
    }
    if let Some(problems) = problems {
        return Err(problems);
    }
    if handlers.is_empty() {
        return Err(Error::new_spanned(
            &item.self_ty,
            "there is no handler here: handlers are `pub async fn`",
        ));
    }
    Ok(impls(&actor, &ty, &handlers))
}

/// The name of the type whose handlers these are.
fn actor(item: &ItemImpl) -> Result<Ident> {
    if let Some((_, of, _)) = &item.trait_ {
        return Err(Error::new_spanned(of, "handlers are the actor's own methods, not those of a trait"));
    }
    if let Type::Path(path) = &*item.self_ty
        && item.generics.params.is_empty()
        && let Some(last) = path.path.segments.last()
    {
        return Ok(last.ident.clone());
    }
    Err(Error::new_spanned(&item.self_ty, "`#[handlers]` stands on the impl block of an `#[actor]`"))
}

fn public_method(item: &mut ImplItem) -> Option<&mut ImplItemFn> {
    let ImplItem::Fn(method) = item else { return None };
    matches!(method.vis, Visibility::Public(_)).then_some(method)
}

/// Each name once: callers know nothing else of a handler.
fn once(before: &[Handler], handler: Handler) -> Result<Handler> {
    let name = handler.name.value();
    if before.iter().any(|other| other.name.value() == name) {
        return Err(Error::new(handler.name.span(), format!("there are two handlers named `{name}`")));
    }
    Ok(handler)
}

fn of_this_macro(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn impls(actor: &Ident, ty: &TokenStream, handlers: &[Handler]) -> TokenStream {
    let client = format_ident!("{actor}Client");
    let documentation = format!("Calls the handlers of one [`{actor}`].");
    let names = handlers.iter().filter(|handler| handler.reads).map(|handler| &handler.name);
    // Names that an argument cannot take away.
    let [turn, view, operation, payload] = ["turn", "view", "operation", "payload"].map(of_this_macro);
    let changes =
        handlers.iter().filter(|handler| !handler.reads).map(|handler| handler.arm(&turn, &payload));
    let reads = handlers.iter().filter(|handler| handler.reads).map(|handler| handler.arm(&view, &payload));
    // Whether these occur depends on the actor: what it shows, and which handlers it has.
    let allow = format_ident!("allow");
    let of_client = handlers.iter().map(Handler::of_client);
    quote! {
        #[doc = #documentation]
        #[derive(Clone)]
        #[#allow(private_interfaces, private_bounds, unreachable_pub, missing_docs)]
        pub struct #client<V> {
            target: ::kelpie::Target<V>,
        }

        #[#allow(private_interfaces, private_bounds, unreachable_pub, missing_docs)]
        impl<V: ::core::clone::Clone> #client<V> {
            #(#of_client)*
        }

        #[#allow(unused_variables)]
        impl ::kelpie::Handlers for #ty {
            const READS: &'static [&'static str] = &[#(#names),*];

            type Client<V> = #client<V>;

            fn client<V>(target: ::kelpie::Target<V>) -> #client<V> {
                #client { target }
            }

            async fn handle(
                &mut self,
                #turn: &mut ::kelpie::Turn,
                #operation: &str,
                #payload: &[u8],
            ) -> ::core::result::Result<::kelpie::Bytes, ::kelpie::untyped::HandlerError> {
                match #operation {
                    #(#changes)*
                    _ => ::kelpie::__private::no_handler::<Self>(#operation),
                }
            }

            async fn read(
                &self,
                #view: &::kelpie::View,
                #operation: &str,
                #payload: &[u8],
            ) -> ::core::result::Result<::kelpie::Bytes, ::kelpie::untyped::HandlerError> {
                match #operation {
                    #(#reads)*
                    _ => ::kelpie::__private::no_handler::<Self>(#operation),
                }
            }
        }
    }
}
