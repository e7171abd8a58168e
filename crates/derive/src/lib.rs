//! `#[derive(KernelParams)]`: structs whose fields are parameters of a kernel. The facade re-exports it, and documents it
//! there; what it expands to names the facade's items alone.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Error, Fields, parse_macro_input};

/// Makes a struct an argument of kernels: each of its fields is a parameter. See `fulgurite::KernelParams`.
#[proc_macro_derive(KernelParams)]
pub fn kernel_params(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<Tokens, Error> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => &fields.named,
            Fields::Named(_) | Fields::Unit => {
                return Err(Error::new(input.ident.span(), "a struct without fields has no parameters"));
            }
            Fields::Unnamed(fields) => {
                return Err(Error::new(fields.span(), "parameters have names: give the fields some"));
            }
        },
        Data::Enum(data) => {
            return Err(Error::new(data.enum_token.span, "an enum is no list of parameters: use a struct"));
        }
        Data::Union(data) => {
            return Err(Error::new(data.union_token.span, "a union is no list of parameters: use a struct"));
        }
    };
    if !input.generics.params.is_empty() {
        let message = "a kernel's parameters have one type each: leave the generics out";
        return Err(Error::new(input.generics.span(), message));
    }
    let (name, visibility) = (&input.ident, &input.vis);
    let values = format_ident!("{name}Values");
    let about = format!("The values of a [`{name}`] in a kernel.");
    let names: Vec<_> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let visibilities = fields.iter().map(|field| &field.vis);
    let suffixes = names.iter().map(|field| {
        // What is raw in Rust is none in a kernel's text.
        let field = field.to_string();
        format!(".{}", field.trim_start_matches("r#"))
    });
    // At the type, so that one which is none of a parameter is found there.
    let declared = types.iter().zip(suffixes).map(|(ty, suffix)| {
        quote_spanned! {ty.span()=> <#ty as ::fulgurite::private::ParamField>::declare(
            builder, &(::std::string::String::from(name) + #suffix), location
        )}
    });
    let passed = types.iter().zip(&names).map(|(ty, field)| {
        quote_spanned! {ty.span()=> <#ty as ::fulgurite::private::ParamField>::pass(self.#field, to);}
    });
    Ok(quote! {
        #[doc = #about]
        #[derive(Clone, Copy)]
        #[allow(dead_code, missing_docs, reason = "not every kernel uses every parameter")]
        #visibility struct #values<'k> {
            #(#visibilities #names: ::fulgurite::private::Val<'k, #types>,)*
        }

        impl ::fulgurite::private::Arg for #name {
            type Handle<'k> = #values<'k>;

            fn declare<'k>(
                builder: &'k ::fulgurite::private::Builder,
                name: &str,
                location: ::fulgurite::private::Location,
            ) -> #values<'k> {
                #values {
                    #(#names: #declared,)*
                }
            }
        }

        impl ::fulgurite::KernelParams for #name {
            fn pass(self, to: &mut ::fulgurite::private::ParamList) {
                #(#passed)*
            }
        }

        impl ::fulgurite::LaunchArg<#name> for #name {
            fn bind(self, bound: &mut ::fulgurite::private::Bound) {
                bound.pass(self);
            }
        }
    })
}
