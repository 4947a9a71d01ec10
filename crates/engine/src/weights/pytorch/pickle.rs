//! What a pickle of tensors says, as plain values. The reader of `.bin` files makes its table of tensors of them.
//! Invariant: nothing that a pickle names is ever called or imported: a call is kept as a value, and a name that has no
//! business among tensors is an error. Values lie side by side and refer to each other by number, so that a list which
//! holds itself costs nothing; every step takes a bounded amount of memory, and the steps are bounded.
//!
//! candle's reader of the same files is not used: it panics on tuples that are too short, takes 4 GiB by the claim of
//! four bytes, and copies whatever is referred to, so that a few bytes can grow without an end.
//!
//! Format: pickletools.py of CPython, protocol 2 and what protocol 4 adds; the names are those of torch/_utils.py.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Steps of a pickle, of which a tensor takes some forty: enough for 50,000 tensors in one file.
const STEPS_MAX: usize = 1 << 21;
/// The longest name of a module or a class.
const NAME_BYTES_MAX: usize = 200;

/// The number of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

/// A value, as far as tables of tensors have them.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// None, a truth value, a float, bytes: nothing that a table of tensors is asked for.
    Other,
    Int(i64),
    Text(&'a str),
    /// A class or function: module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values in the order in which they were set.
    Dict(Vec<(Id, Id)>),
    /// What lies outside of the pickle; torch's storages.
    Outside(Id),
    /// What the pickle wants called, with which arguments.
    Call(Id, Id),
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Values<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Values<'a> {
    /// Reads a whole pickle. `ModelUnreadable` if it is cut off, damaged, too long, or names anything that is no part of
    /// a table of tensors.
    pub(super) fn read(pickle: &'a [u8]) -> Result<Self> {
        let mut machine = Machine { rest: pickle, values: vec![], stack: vec![], marks: vec![], memo: HashMap::new() };
        for _ in 0..STEPS_MAX {
            if let Some(root) = machine.step()? {
                return Ok(Self { values: machine.values, root });
            }
        }
        Err(Error::unreadable(format!("its pickle has more than {STEPS_MAX} steps")))
    }

    /// The value that the pickle stands for.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    /// The value of this number.
    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

fn damaged() -> Error {
    Error::unreadable("its pickle is cut off or damaged")
}

impl<'a> Machine<'a> {
    /// Takes the next step; the root if it was the last one.
    fn step(&mut self) -> Result<Option<Id>> {
        let code = self.byte()?;
        match code {
            b'.' => return self.pop().map(Some),
            // PROTO and FRAME tell nothing that is needed.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.push(Value::Other),
            b'G' => self.skip(8)?,
            b'C' => {
                let count = self.number(1)?;
                self.skip(count)?;
            }
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()));
            }
            0x8a => self.long()?,
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b'c' => self.global()?,
            0x93 => self.global_of_stack()?,
            b'q' => self.keep_numbered(1)?,
            b'r' => self.keep_numbered(4)?,
            0x94 => self.keep(self.memo.len() as u32)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b')' => self.push(Value::Tuple(vec![])),
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(vec![])),
            b'}' => self.push(Value::Dict(vec![])),
            b'a' | b'e' => self.append(code == b'e')?,
            b's' | b'u' => self.set(code == b'u')?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Outside(id));
            }
            b'R' | 0x81 => self.call()?,
            // BUILD: what else an object carries (torch notes versions) is nothing to us.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            other => {
                return Err(Error::unreadable(format!("its pickle is damaged or no table of tensors (code {other})")));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A whole number without a sign, the lowest byte first.
    fn number(&mut self, bytes: usize) -> Result<usize> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count)?;
        self.push(Value::Other);
        Ok(())
    }

    fn int(&mut self, bytes: usize) -> Result<()> {
        let value = self.number(bytes)?;
        self.push(Value::Int(value as i64));
        Ok(())
    }

    /// A number of as many bytes as it needs, the highest of which has the sign.
    fn long(&mut self) -> Result<()> {
        let count = self.number(1)?;
        let bytes = self.take(count)?;
        let Some(highest) = bytes.last().filter(|_| count <= 8) else {
            self.push(if count == 0 { Value::Int(0) } else { Value::Other });
            return Ok(());
        };
        let sign = if highest & 0x80 == 0 { 0 } else { -1_i64 };
        self.push(Value::Int(bytes.iter().rev().fold(sign, |number, byte| number << 8 | i64::from(*byte))));
        Ok(())
    }

    fn text(&mut self, length_bytes: usize) -> Result<()> {
        let count = self.number(length_bytes)?;
        let text = std::str::from_utf8(self.take(count)?).map_err(|_| damaged())?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let within = &self.rest[..self.rest.len().min(NAME_BYTES_MAX)];
        let end = within.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| damaged())
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.push_global(module, name)
    }

    fn global_of_stack(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.value(module), self.value(name)) {
            (&Value::Text(module), &Value::Text(name)) => self.push_global(module, name),
            _ => Err(damaged()),
        }
    }

    fn push_global(&mut self, module: &'a str, name: &'a str) -> Result<()> {
        if !is_of_tensors(module, name) {
            let short: String = format!("{module}.{name}").escape_debug().take(NAME_BYTES_MAX).collect();
            return Err(Error::unreadable(format!(
                "its pickle asks for {short}, which has no part in a table of tensors; nothing of it was run"
            )));
        }
        self.push(Value::Global(module, name));
        Ok(())
    }

    fn keep_numbered(&mut self, bytes: usize) -> Result<()> {
        let number = self.number(bytes)?;
        self.keep(number as u32)
    }

    fn keep(&mut self, number: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Result<()> {
        let number = self.number(bytes)? as u32;
        let id = *self.memo.get(&number).ok_or_else(damaged)?;
        self.stack.push(id);
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, several: bool) -> Result<()> {
        let items = if several { self.pop_to_mark()? } else { vec![self.pop()?] };
        let list = self.top()?;
        match &mut self.values[list.0 as usize] {
            Value::List(list) => list.extend(items),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn set(&mut self, several: bool) -> Result<()> {
        let items = match several {
            true => self.pop_to_mark()?,
            false => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
        };
        let dict = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else { return Err(damaged()) };
        match &mut self.values[dict.0 as usize] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, what) = (self.pop()?, self.pop()?);
        // Its items are set afterwards, as those of a plain dict are.
        let is_dict = matches!(self.value(what), Value::Global("collections", "OrderedDict"));
        self.push(if is_dict { Value::Dict(vec![]) } else { Value::Call(what, arguments) });
        Ok(())
    }

    fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    fn push(&mut self, value: Value<'a>) {
        // The bound on the steps keeps the number far below 2^32.
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
    }

    /// What lies below a mark is out of reach until the mark is gone.
    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(<[Id]>::last).copied().ok_or_else(damaged)
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(damaged)?;
        Ok(self.stack.split_off(mark))
    }
}

/// Whether a table of tensors may name this.
fn is_of_tensors(module: &str, name: &str) -> bool {
    match module {
        "collections" => name == "OrderedDict",
        "torch._utils" => matches!(
            name,
            "_rebuild_tensor_v2" | "_rebuild_tensor_v3" | "_rebuild_parameter" | "_rebuild_parameter_with_state"
        ),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.nn.parameter" => name == "Parameter",
        // Storages name a type, and so do types themselves (torch.float8_e4m3fn), which have digits or are few.
        "torch" | "torch.storage" => {
            name.ends_with("Storage")
                || matches!(name, "Tensor" | "Size" | "bool")
                || (name.contains(|c: char| c.is_ascii_digit()) && name.starts_with(['b', 'c', 'f', 'i', 'u']))
        }
        _ => false,
    }
}
