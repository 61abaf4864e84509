//! Parses XML to values.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::value::{Record, Value};
use super::write::is_allowed;
use crate::Result;
use crate::error::{corrupt, unsupported};

/// The nesting limit of values.
const MAX_DEPTH: usize = 64;
/// The most values of a document. It bounds memory use: a value takes up to some hundred bytes, but as few as eight
/// bytes of text. Appliances with hundreds of disks have some ten thousand values.
const MAX_VALUES: usize = 1 << 17;

/// A parsed item, or a description of the error.
type Parsed<T> = std::result::Result<T, String>;

/// Parses the single value in `ova.xml`.
pub(crate) fn value(xml: &[u8]) -> Result<Value> {
    let damaged = |why: String| corrupt("ova.xml", why);
    let mut parser = Parser::new(xml).map_err(damaged)?;
    let root = parser.element().map_err(damaged)?;
    match root.name().as_ref() {
        "value" => {}
        "appliance" => {
            return Err(unsupported(
                "this is an appliance of version 0.1, the format of XenServer before 2008",
                "import it with XenServer 5.6 to 7.6, and export it from there",
            ));
        }
        name => return Err(damaged(format!("it starts with <{name}>"))),
    }
    let value = parser.value().map_err(damaged)?;
    parser.end().map_err(damaged)?;
    Ok(value)
}

/// Parses the structure in a member of an archive without storing it: `found` is called with each name and value.
pub(crate) fn structure(member: &str, xml: &[u8], mut found: impl FnMut(String, Value)) -> Result<()> {
    let mut read = || {
        let mut parser = Parser::new(xml)?;
        expect(&parser.element()?, "value")?;
        expect(&parser.element()?, "struct")?;
        while let Some((name, value)) = parser.member()? {
            found(name, value);
            parser.left = MAX_VALUES;
        }
        parser.close()?;
        parser.end()
    };
    read().map_err(|why| corrupt(member, why))
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    /// The number of values that may still be stored.
    left: usize,
}

/// The next item between two tags.
enum Next<'a> {
    Open(BytesStart<'a>),
    Text(String),
    Close,
    End,
}

impl<'a> Parser<'a> {
    fn new(xml: &'a [u8]) -> Parsed<Self> {
        let text = std::str::from_utf8(xml).map_err(|error| format!("it is not UTF-8 text: {error}"))?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self { reader, depth: 0, left: MAX_VALUES })
    }

    /// Parses the value after `<value>`, including `</value>`.
    fn value(&mut self) -> Parsed<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("its values are nested too deeply".to_owned());
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| format!("it contains more than {MAX_VALUES} values"))?;
        let mut text = String::new();
        let value = loop {
            match self.next()? {
                Next::Text(more) => text.push_str(&more),
                Next::Close => break Value::Text(text),
                Next::Open(tag) => {
                    let value = self.typed(tag.name().as_ref())?;
                    self.close()?;
                    break value;
                }
                Next::End => return Err(too_short()),
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    /// Parses the value in a type tag, including the end of that tag.
    fn typed(&mut self, tag: &str) -> Parsed<Value> {
        Ok(match tag {
            "struct" => Value::Struct(self.members()?),
            "array" => Value::Array(self.array()?),
            "boolean" => Value::Flag(matches!(self.text()?.trim(), "1" | "true")),
            "int" | "i4" | "i8" => Value::text(self.text()?.trim()),
            "string" | "base64" => Value::Text(self.text()?),
            "double" => Value::Double(self.text()?),
            "dateTime.iso8601" => Value::Date(self.text()?),
            "nil" => Value::Text(self.text()?),
            other => return Err(format!("a value has the unknown type {}", other)),
        })
    }

    fn members(&mut self) -> Parsed<Record> {
        let mut members = Vec::new();
        while let Some(member) = self.member()? {
            members.push(member);
        }
        Ok(Record(members))
    }

    /// The next member of a structure; `None` at its end.
    fn member(&mut self) -> Parsed<Option<(String, Value)>> {
        let Some(tag) = self.child()? else { return Ok(None) };
        expect(&tag, "member")?;
        let (mut name, mut value) = (None, None);
        while let Some(tag) = self.child()? {
            match tag.name().as_ref() {
                "name" => name = Some(self.text()?),
                "value" => value = Some(self.value()?),
                _ => return Err(unexpected(&tag)),
            }
        }
        match (name, value) {
            (Some(name), Some(value)) => Ok(Some((name, value))),
            _ => Err("a member of a structure lacks its name or value".to_owned()),
        }
    }

    fn array(&mut self) -> Parsed<Vec<Value>> {
        let mut values = Vec::new();
        while let Some(tag) = self.child()? {
            expect(&tag, "data")?;
            while let Some(tag) = self.child()? {
                expect(&tag, "value")?;
                values.push(self.value()?);
            }
        }
        Ok(values)
    }

    /// The text up to the end of the element.
    fn text(&mut self) -> Parsed<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Next::Text(more) => text.push_str(&more),
                Next::Close => return Ok(text),
                Next::Open(tag) => return Err(unexpected(&tag)),
                Next::End => return Err(too_short()),
            }
        }
    }

    /// The next child of the current element; `None` at its end.
    fn child(&mut self) -> Parsed<Option<BytesStart<'a>>> {
        loop {
            match self.next()? {
                Next::Open(tag) => return Ok(Some(tag)),
                Next::Close => return Ok(None),
                Next::Text(text) if text.trim().is_empty() => {}
                Next::Text(_) => return Err("there is text in place of an element".to_owned()),
                Next::End => return Err(too_short()),
            }
        }
    }

    fn element(&mut self) -> Parsed<BytesStart<'a>> {
        self.child()?.ok_or_else(too_short)
    }

    fn close(&mut self) -> Parsed<()> {
        match self.child()? {
            None => Ok(()),
            Some(tag) => Err(unexpected(&tag)),
        }
    }

    /// Checks that nothing follows.
    fn end(&mut self) -> Parsed<()> {
        loop {
            match self.next()? {
                Next::End => return Ok(()),
                Next::Text(text) if text.trim().is_empty() => {}
                _ => return Err("there is data after its value".to_owned()),
            }
        }
    }

    fn next(&mut self) -> Parsed<Next<'a>> {
        loop {
            return Ok(match self.reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(tag) => Next::Open(tag),
                Event::End(_) => Next::Close,
                Event::Text(text) => text_of(text.xml10_content().into_owned())?,
                Event::CData(data) => text_of(data.into_inner().into_owned())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    let name = reference.to_string();
                    let predefined = || quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned);
                    let text = character.map(String::from).or_else(predefined);
                    text_of(text.ok_or_else(|| format!("the entity &{name}; is unknown"))?)?
                }
                Event::Eof => Next::End,
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => continue,
            });
        }
    }
}

/// Rejects text that could not be written again.
fn text_of<'a>(text: String) -> Parsed<Next<'a>> {
    match text.chars().find(|char| !is_allowed(*char)) {
        None => Ok(Next::Text(text)),
        Some(char) => Err(format!("it contains the character U+{:04X}, which XML does not allow", u32::from(char))),
    }
}

fn expect(tag: &BytesStart<'_>, name: &str) -> Parsed<()> {
    if tag.name().as_ref() == name { Ok(()) } else { Err(unexpected(tag)) }
}

fn unexpected(tag: &BytesStart<'_>) -> String {
    format!("the element <{}> is in the wrong place", tag.name().as_ref())
}

fn too_short() -> String {
    "it ends too early".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(xml: &str) -> Value {
        value(xml.as_bytes()).unwrap()
    }

    #[test]
    fn every_type_is_read() {
        let pretty = "<?xml version='1.0'?>\n<!DOCTYPE x>\n<value>\n <struct>\n <member>\n<name>a&amp;b</name> <value><boolean>1</boolean></value>\
                      </member><!-- x --><member><name>l</name><value><array><data><value><i4> 5 </i4></value><value/></data></array></value></member>\
                      <member><value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value><name>d</name></member></struct>\n</value>\n";
        let expected = Record(vec![
            ("a&b".to_owned(), Value::Flag(true)),
            ("l".to_owned(), Value::set(["5", ""])),
            ("d".to_owned(), Value::Date("19700101T00:00:00Z".to_owned())),
        ]);
        assert_eq!(text(pretty), Value::Struct(expected));
        assert_eq!(text("<value> a &lt;&#x416;&gt; <![CDATA[<b>]]></value>"), Value::text(" a <Ж> <b>"));
        assert_eq!(text("<value><boolean>0</boolean></value>"), Value::Flag(false));
        assert_eq!(text("<value><double>1</double></value>"), Value::Double("1".to_owned()));
        assert_eq!(text("<value><string>x</string></value>"), Value::text("x"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let deep = "<value><array><data>".repeat(100);
        for (xml, why) in [
            (&b"<value>\xff</value>"[..], "it is not UTF-8 text"),
            (b"<html></html>", "it starts with <html>"),
            (b"", "it ends too early"),
            (b"<value>a", "it ends too early"),
            (b"<value>a</data>", "expected `</value>`"),
            (b"<value><struct><x/></struct></value>", "the element <x> is in the wrong place"),
            (b"<value><struct><member><name>a</name></member></struct></value>", "lacks its name or value"),
            (b"<value>&xxe;</value>", "the entity &xxe; is unknown"),
            (b"<value>a\0b</value>", "the character U+0000"),
            (b"<value><![CDATA[\x1b]]></value>", "the character U+001B"),
            (b"<value>&#x1f;</value>", "the character U+001F"),
            (b"<value><blob>1</blob></value>", "unknown type blob"),
            (b"<value>a</value><value>b</value>", "there is data after its value"),
            (b"<appliance version='0.1'></appliance>", "an appliance of version 0.1"),
            (deep.as_bytes(), "too deep"),
        ] {
            let error = value(xml).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
