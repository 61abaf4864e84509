//! Reads requests of XML-RPC. Only elements, text, and references to characters are read: neither a DTD nor an entity of
//! its own can be in a request.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Number, Value};

use super::is_allowed;

/// How deep lists and structs may be nested.
const DEPTH: usize = 64;
/// How many values a request may have, those in lists and structs among them.
const VALUES: usize = 50_000;

/// A request.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As JSON has them; what is a date there is a text here.
    pub(crate) parameters: Vec<Value>,
}

/// Why a body is no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

type Parsed<T> = Result<T, String>;

/// Reads a request.
pub(crate) fn request(body: &[u8]) -> Result<Request, Malformed> {
    parse(body, |parser| {
        let method = parser.method()?;
        let parameters = parser.parameters()?;
        parser.end()?;
        Ok(Request { method, parameters })
    })
}

/// Reads the name of the method only, which is at the beginning.
pub(crate) fn method_name(body: &[u8]) -> Result<String, Malformed> {
    parse(body, Parser::method)
}

fn parse<'a, T>(body: &'a [u8], read: impl FnOnce(&mut Parser<'a>) -> Parsed<T>) -> Result<T, Malformed> {
    let refused = |why| Malformed(format!("this is no request of XML-RPC: {why}; send one methodCall in UTF-8"));
    let text = std::str::from_utf8(body).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    read(&mut Parser { reader, values: 0 }).map_err(refused)
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    values: usize,
}

/// What comes next.
enum Next {
    Open(String),
    Close,
    Text(String),
    End,
}

impl Parser<'_> {
    /// Reads up to the end of the name of the method.
    fn method(&mut self) -> Parsed<String> {
        self.open("methodCall")?;
        self.open("methodName")?;
        Ok(self.text()?.trim().to_owned())
    }

    /// Reads the parameters up to the end of the request.
    fn parameters(&mut self) -> Parsed<Vec<Value>> {
        let mut values = Vec::new();
        match self.child()?.as_deref() {
            None => return Ok(values),
            Some("params") => {}
            Some(other) => return Err(unexpected(other)),
        }
        while let Some(name) = self.child()? {
            expect(&name, "param")?;
            self.open("value")?;
            values.push(self.value(0)?);
            self.close()?;
        }
        self.close()?;
        Ok(values)
    }

    /// Reads a value, whose element has begun, and its end.
    fn value(&mut self, depth: usize) -> Parsed<Value> {
        self.values += 1;
        if self.values > VALUES {
            return Err(format!("it has more than {VALUES} values"));
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                Next::Text(more) => text.push_str(&more),
                // A text needs no element of its own.
                Next::Close => return Ok(Value::String(text)),
                Next::Open(name) if text.trim().is_empty() => {
                    let value = self.typed(&name, depth)?;
                    self.close()?;
                    return Ok(value);
                }
                Next::Open(name) => return Err(unexpected(&name)),
                Next::End => return Err(too_short()),
            }
        }
    }

    /// Reads what is in the element of a type, and its end.
    fn typed(&mut self, name: &str, depth: usize) -> Parsed<Value> {
        match name {
            "string" => self.text().map(Value::String),
            "int" | "i4" | "i8" => {
                let text = self.text()?;
                let number = text.trim().parse::<i64>();
                number.map(Value::from).map_err(|_| "a number is not one of 64 bits".to_owned())
            }
            "double" => {
                let text = self.text()?;
                let number = text.trim().parse().ok().and_then(Number::from_f64);
                number.map(Value::Number).ok_or_else(|| "a double is no finite number".to_owned())
            }
            "boolean" => match self.text()?.trim() {
                "0" => Ok(Value::Bool(false)),
                "1" => Ok(Value::Bool(true)),
                _ => Err("a boolean is neither 0 nor 1".to_owned()),
            },
            "dateTime.iso8601" => Ok(Value::String(self.text()?.trim().to_owned())),
            "nil" => self.close().map(|()| Value::Null),
            "array" | "struct" if depth >= DEPTH => Err(format!("it is nested more than {DEPTH} levels deep")),
            "array" => self.array(depth + 1),
            "struct" => self.members(depth + 1),
            other => Err(format!("XenAPI has no values of the type <{other:.40}>")),
        }
    }

    fn array(&mut self, depth: usize) -> Parsed<Value> {
        let mut values = Vec::new();
        if let Some(name) = self.child()? {
            expect(&name, "data")?;
            while let Some(name) = self.child()? {
                expect(&name, "value")?;
                values.push(self.value(depth)?);
            }
            self.close()?;
        }
        Ok(Value::Array(values))
    }

    fn members(&mut self, depth: usize) -> Parsed<Value> {
        let mut members = Map::new();
        while let Some(name) = self.child()? {
            expect(&name, "member")?;
            let (mut name, mut value) = (None, None);
            while let Some(part) = self.child()? {
                match part.as_str() {
                    "name" if name.is_none() => name = Some(self.text()?),
                    "value" if value.is_none() => value = Some(self.value(depth)?),
                    other => return Err(unexpected(other)),
                }
            }
            let (Some(name), Some(value)) = (name, value) else {
                return Err("a member of a struct lacks its name or its value".to_owned());
            };
            if members.insert(name, value).is_some() {
                return Err("a struct has two members of the same name".to_owned());
            }
        }
        Ok(Value::Object(members))
    }

    /// Reads the text up to the end of the element.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Next::Text(more) => text.push_str(&more),
                Next::Close => return Ok(text),
                Next::Open(name) => return Err(unexpected(&name)),
                Next::End => return Err(too_short()),
            }
        }
    }

    /// Reads the begin of the next element in this one; `None` at its end.
    fn child(&mut self) -> Parsed<Option<String>> {
        loop {
            match self.next()? {
                Next::Open(name) => return Ok(Some(name)),
                Next::Close => return Ok(None),
                Next::Text(text) if text.trim().is_empty() => {}
                Next::Text(_) => return Err("there is text in place of an element".to_owned()),
                Next::End => return Err(too_short()),
            }
        }
    }

    fn open(&mut self, name: &str) -> Parsed<()> {
        expect(&self.child()?.ok_or_else(too_short)?, name)
    }

    fn close(&mut self) -> Parsed<()> {
        self.child()?.map_or(Ok(()), |name| Err(unexpected(&name)))
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> Parsed<()> {
        loop {
            match self.next()? {
                Next::End => return Ok(()),
                Next::Text(text) if text.trim().is_empty() => {}
                _ => return Err("something follows its end".to_owned()),
            }
        }
    }

    fn next(&mut self) -> Parsed<Next> {
        loop {
            let text = match self.reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(tag) => return Ok(Next::Open(tag.name().as_ref().to_owned())),
                Event::End(_) => return Ok(Next::Close),
                Event::Eof => return Ok(Next::End),
                Event::Text(text) => text.xml10_content().into_owned(),
                Event::CData(data) => data.into_inner().into_owned(),
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    let predefined = || quick_xml::escape::resolve_predefined_entity(&reference).map(str::to_owned);
                    let text = character.map(String::from).or_else(predefined);
                    text.ok_or_else(|| "it has an entity of its own".to_owned())?
                }
                Event::DocType(_) => return Err("it has a DTD".to_owned()),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
            };
            return match text.chars().find(|character| !is_allowed(*character)) {
                None => Ok(Next::Text(text)),
                Some(character) => Err(format!("it has the character U+{:04X}", u32::from(character))),
            };
        }
    }
}

fn expect(name: &str, expected: &str) -> Parsed<()> {
    if name == expected { Ok(()) } else { Err(unexpected(name)) }
}

fn unexpected(name: &str) -> String {
    format!("the element <{name:.40}> is in the wrong place")
}

fn too_short() -> String {
    "it ends too early".to_owned()
}
