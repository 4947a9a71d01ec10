//! The table of tensors that a pickle of PyTorch stands for: name, type, shape, steps, and which storage holds them.
//! The reader of `.bin` files looks for the storages in the archive.
//! Invariant: it follows what is there to a fixed depth and believes no number; the reader holds them against the file.
//!
//! What a tensor is made of: torch/_utils.py (`_rebuild_tensor_v2` and those around it) and `persistent_id` in
//! torch/serialization.py.

use crate::error::{Error, Result};

use super::pickle::{Id, Value, Values};

/// Calls around a tensor: a parameter of a subclass is two.
const WRAPPINGS_MAX: usize = 3;
/// Dimensions of a tensor. Many tensors may share one tuple, so that its length has to be bounded.
const RANK_MAX: usize = 8;
/// The longest name of a tensor or a storage; usual are below a hundred.
const NAME_BYTES_MAX: usize = 1000;

/// A tensor as the pickle tells it.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) name: &'a str,
    /// The name of the storage's class without `Storage` (`Half`), or of the type (`float8_e4m3fn`).
    pub(super) stored_as: &'a str,
    /// The storage's name in the archive.
    pub(super) storage: &'a str,
    /// Elements before its first.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// Elements from one to the next, for each dimension.
    pub(super) steps: Vec<usize>,
}

/// The tensors of a pickle, in its order; entries that are no tensors are left out.
pub(super) fn tensors<'a>(values: &Values<'a>) -> Result<Vec<Told<'a>>> {
    let Value::Dict(entries) = values.root() else { return Err(Error::unreadable("it holds no tensors by name")) };
    let mut found = Vec::new();
    for (key, value) in entries {
        let (Value::Text(name), Some((function, arguments))) = (values.get(*key), rebuilding(values, *value)) else {
            continue;
        };
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::unreadable(format!("it has a tensor with a name of {} bytes", name.len())));
        }
        let told = told(values, name, function, arguments);
        found.push(told.ok_or_else(|| Error::unreadable(format!("what it says of the tensor {name} is damaged")))?);
    }
    if found.is_empty() {
        return Err(Error::unreadable(
            "it holds no tensors by name; a checkpoint of a training has them deeper inside and must be exported first",
        ));
    }
    Ok(found)
}

/// The function that makes a tensor and its arguments; none if `value` is no tensor.
fn rebuilding<'v, 'a>(values: &'v Values<'a>, value: Id) -> Option<(&'a str, &'v [Id])> {
    let &Value::Call(mut what, mut with) = values.get(value) else { return None };
    for _ in 0..WRAPPINGS_MAX {
        let Value::Tuple(arguments) = values.get(with) else { return None };
        match values.get(what) {
            Value::Global("torch._utils", name) if name.starts_with("_rebuild_tensor") => {
                return Some((name, arguments));
            }
            Value::Global("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                match values.get(*arguments.first()?) {
                    Value::Call(inner, inner_with) => (what, with) = (*inner, *inner_with),
                    _ => return None,
                }
            }
            Value::Global("torch._tensor", "_rebuild_from_type_v2") => {
                (what, with) = (*arguments.first()?, *arguments.get(2)?);
            }
            _ => return None,
        }
    }
    None
}

fn told<'a>(values: &Values<'a>, name: &'a str, function: &str, arguments: &[Id]) -> Option<Told<'a>> {
    let [storage, offset, shape, steps, ..] = arguments else { return None };
    let Value::Outside(storage) = values.get(*storage) else { return None };
    let Value::Tuple(storage) = values.get(*storage) else { return None };
    // The word "storage", its class, its name, the device, its length.
    let [_, class, key, ..] = storage[..] else { return None };
    let (Value::Global(_, class), Value::Text(key)) = (values.get(class), values.get(key)) else { return None };
    let stored_as = match function {
        "_rebuild_tensor_v3" => match values.get(*arguments.get(6)?) {
            Value::Global(_, name) => name,
            _ => return None,
        },
        _ => class.strip_suffix("Storage")?,
    };
    let offset = number(values, *offset)?;
    let (shape, steps) = (numbers(values, *shape)?, numbers(values, *steps)?);
    let is_sound = shape.len() == steps.len() && key.len() <= NAME_BYTES_MAX;
    is_sound.then_some(Told { name, stored_as, storage: key, offset, shape, steps })
}

fn numbers(values: &Values<'_>, tuple: Id) -> Option<Vec<usize>> {
    let Value::Tuple(items) = values.get(tuple) else { return None };
    if items.len() > RANK_MAX {
        return None;
    }
    items.iter().map(|item| number(values, *item)).collect()
}

fn number(values: &Values<'_>, id: Id) -> Option<usize> {
    match values.get(id) {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}
