//! JSON Patch (RFC 6902) with its pointers (RFC 6901).

use super::tree::{Member, Tree, find, is_name};
use super::{OPERATIONS, PatchError, is_identity, number};
use crate::fhir::json::DEPTH;

/// How much `copy` may add in all: a patch that doubles a list a thousand times is short.
const COPIED: usize = 16 << 20;

const FORM: PatchError = PatchError::Form("an array of operations (RFC 6902)");

pub(super) fn apply(resource: &mut Tree, patch: &Tree) -> Result<(), PatchError> {
    let Tree::List(operations) = patch else { return Err(FORM) };
    if operations.len() > OPERATIONS {
        return Err(PatchError::TooMuch);
    }
    let mut copied = 0;
    operations.iter().try_for_each(|operation| one(resource, operation, &mut copied))
}

fn one(resource: &mut Tree, operation: &Tree, copied: &mut usize) -> Result<(), PatchError> {
    let text = |name| operation.member(name).and_then(Tree::text).ok_or(FORM);
    let pointer = |name| Pointer::read(text(name)?);
    let value = || operation.member("value").cloned().ok_or(FORM);
    let path = pointer("path")?;
    match text("op")? {
        "add" => path.add(resource, value()?),
        "copy" => {
            let value = pointer("from")?.get(resource)?.clone();
            *copied += value.weight();
            if *copied > COPIED {
                return Err(PatchError::TooMuch);
            }
            path.add(resource, value)
        }
        "move" => {
            let from = pointer("from")?;
            from.changeable()?;
            // §4.4: a value cannot be moved into itself.
            if path.tokens.len() > from.tokens.len() && path.tokens.starts_with(&from.tokens) {
                return Err(FORM);
            }
            let value = from.remove(resource)?;
            path.add(resource, value)
        }
        "remove" => path.remove(resource).map(drop),
        "replace" => path.replace(resource, value()?),
        "test" if path.get(resource)?.same(&value()?) => Ok(()),
        "test" => Err(PatchError::test(path.text)),
        _ => Err(FORM),
    }
}

struct Pointer<'p> {
    text: &'p str,
    tokens: Vec<String>,
}

impl<'p> Pointer<'p> {
    fn read(text: &'p str) -> Result<Self, PatchError> {
        let mut parts = text.split('/');
        if parts.next() != Some("") {
            return Err(FORM);
        }
        let tokens = parts.map(unescape).collect::<Option<Vec<_>>>().ok_or(FORM)?;
        if tokens.len() > DEPTH {
            return Err(PatchError::TooMuch);
        }
        Ok(Self { text, tokens })
    }

    fn missing(&self) -> PatchError {
        PatchError::missing(self.text)
    }

    /// The last step and those before it, when what they name may change (REST-14).
    fn changeable(&self) -> Result<(&str, &[String]), PatchError> {
        if self.tokens.first().is_none_or(|first| is_identity(first)) {
            return Err(PatchError::Identity);
        }
        let (last, parents) = self.tokens.split_last().ok_or(PatchError::Identity)?;
        Ok((last, parents))
    }

    fn get<'t>(&self, root: &'t Tree) -> Result<&'t Tree, PatchError> {
        self.tokens.iter().try_fold(root, |at, token| {
            let found = match at {
                Tree::Object(members) => {
                    find(members, token)?.and_then(|place| members.get(place)).map(|(_, member)| member)
                }
                Tree::List(items) => items.get(self.index(token)?),
                Tree::Bool(_) | Tree::Null | Tree::Number(_) | Tree::Text(_) | Tree::Untyped(_) => None,
            };
            found.ok_or_else(|| self.missing())
        })
    }

    fn parent<'t>(&self, root: &'t mut Tree, parents: &[String]) -> Result<Parent<'t>, PatchError> {
        let mut at = root;
        for token in parents {
            let found = match self.open(at)? {
                Parent::List(items) => items.get_mut(self.index(token)?),
                Parent::Object(members) => {
                    find(members, token)?.and_then(|place| members.get_mut(place)).map(|(_, member)| member)
                }
            };
            at = found.ok_or_else(|| self.missing())?;
        }
        self.open(at)
    }

    fn open<'t>(&self, at: &'t mut Tree) -> Result<Parent<'t>, PatchError> {
        match at {
            Tree::List(items) => Ok(Parent::List(items)),
            Tree::Object(members) => Ok(Parent::Object(members)),
            Tree::Bool(_) | Tree::Null | Tree::Number(_) | Tree::Text(_) | Tree::Untyped(_) => {
                Err(self.missing())
            }
        }
    }

    /// RFC 6901 §4. `-` names no item that is there.
    fn index(&self, token: &str) -> Result<usize, PatchError> {
        number(token).ok_or_else(|| self.missing())
    }

    fn add(&self, root: &mut Tree, value: Tree) -> Result<(), PatchError> {
        if self.tokens.len() + value.depth() > DEPTH {
            return Err(PatchError::TooMuch);
        }
        let (last, parents) = self.changeable()?;
        match self.parent(root, parents)? {
            Parent::List(items) => {
                let at = if last == "-" { items.len() } else { self.index(last)? };
                if at > items.len() {
                    return Err(PatchError::index(self.text, at));
                }
                items.insert(at, value);
            }
            Parent::Object(members) => match find(members, last)? {
                Some(at) => put(members, at, value),
                None if is_name(last) => members.push((last.to_owned(), value)),
                None => return Err(PatchError::unsupported(last, "the name of an element")),
            },
        }
        Ok(())
    }

    fn remove(&self, root: &mut Tree) -> Result<Tree, PatchError> {
        let (last, parents) = self.changeable()?;
        match self.parent(root, parents)? {
            Parent::List(items) => {
                let at = self.index(last)?;
                if at < items.len() { Ok(items.remove(at)) } else { Err(self.missing()) }
            }
            Parent::Object(members) => match find(members, last)? {
                Some(at) => Ok(members.remove(at).1),
                None => Err(self.missing()),
            },
        }
    }

    fn replace(&self, root: &mut Tree, value: Tree) -> Result<(), PatchError> {
        if self.tokens.len() + value.depth() > DEPTH {
            return Err(PatchError::TooMuch);
        }
        let (last, parents) = self.changeable()?;
        match self.parent(root, parents)? {
            Parent::List(items) => {
                let place = items.get_mut(self.index(last)?).ok_or_else(|| self.missing())?;
                *place = value;
            }
            Parent::Object(members) => {
                let at = find(members, last)?.ok_or_else(|| self.missing())?;
                put(members, at, value);
            }
        }
        Ok(())
    }
}

enum Parent<'t> {
    List(&'t mut Vec<Tree>),
    Object(&'t mut Vec<Member>),
}

fn put(members: &mut [Member], at: usize, value: Tree) {
    if let Some((_, place)) = members.get_mut(at) {
        *place = value;
    }
}

/// RFC 6901 §4: `~1` is `/` and `~0` is `~`; nothing else may follow a `~`.
fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = match part.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        text.push(escaped);
        text.push_str(rest);
    }
    Some(text)
}
