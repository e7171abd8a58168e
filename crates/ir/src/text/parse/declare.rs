//! The header of a kernel text, and declarations.

use fulgurite_spec::device::Capability;
use fulgurite_spec::limits::MAX_NAME_BYTES;
use fulgurite_spec::{Code, Diagnostic, Type};

use super::super::{VERSION, is_number};
use super::{Meaning, Parsed, Parser, Region, Stop, Token, TokenKind};
use crate::kernel::{
    Access, ArrayDecl, BufferDecl, BufferId, Initial, LocalId, Memory, ParamDecl, ParamId, SharedId,
    ValueDef, ViewDecl, ViewId,
};

impl<'t> Parser<'t> {
    pub(super) fn header(&mut self) -> Parsed<()> {
        let start = self.token.place;
        if self.eat_word("fulgurite") {
            let version = self.token;
            if version.kind != TokenKind::Number || version.text != VERSION {
                let message = format!(
                    "the text is of version `{}`, only {VERSION} is known",
                    version.text.escape_debug()
                );
                return Err(self.error(Code::BadHeader, version.place, message));
            }
            self.bump();
        } else {
            let message = format!("the text does not begin with `fulgurite {VERSION}`");
            self.error(Code::BadHeader, start, message);
            if !self.token.is_word("kernel") {
                return Err(Stop);
            }
        }
        let keyword = self.token.place;
        self.expect_word("kernel")?;
        let name = self.expect_kind(TokenKind::KernelName, "the kernel's name, such as `@main`")?;
        self.check_name(name);
        self.kernel.name = name.text.to_owned();
        self.expect_word("workgroup")?;
        self.expect("(")?;
        for axis in 0..3 {
            if axis > 0 {
                self.expect(",")?;
            }
            self.kernel.workgroup[axis] = self.count("an invocation count")?;
        }
        self.expect(")")?;
        self.kernel.location = self.place_from(keyword);
        let place = self.token.place;
        self.expect("{")?;
        let body = self.kernel.body;
        self.open_block(body, Region::Body, place)
    }

    /// Parses a number without a type.
    fn count(&mut self, what: &str) -> Parsed<u32> {
        let token = self.expect_kind(TokenKind::Number, what)?;
        match token.text.parse::<u32>() {
            Ok(count) if is_number(token.text) => Ok(count),
            _ => {
                let digits = token.text.find(|c: char| !c.is_ascii_digit()).map(|at| token.text.split_at(at));
                let message = match digits {
                    Some((digits, ty)) if !digits.is_empty() && Type::parse(ty).is_some() => {
                        format!("a count is stated without a type: `{digits}`")
                    }
                    _ => format!("`{}` is no number below 2^32", token.text.escape_debug()),
                };
                let problem = Diagnostic::new(Code::BadLiteral, token.place, message);
                Err(self.report(problem.with_fix("A count is decimal digits and no more, below 2^32.")))
            }
        }
    }

    pub(super) fn check_name(&mut self, name: Token<'t>) {
        if name.text.len() > MAX_NAME_BYTES {
            let message = format!("the name has {} bytes, the limit is {MAX_NAME_BYTES}", name.text.len());
            self.error(Code::TextTooLarge, name.place, message);
        }
    }

    pub(super) fn type_name(&mut self) -> Parsed<Type> {
        const WANTED: &str = "a type, such as `f32` or `u32x4`";
        if self.token.first {
            return Err(self.unexpected(WANTED));
        }
        let token = self.expect_kind(TokenKind::Word, WANTED)?;
        if token.is_word("coopmat") {
            return self.matrix_type(token);
        }
        match Type::parse(token.text) {
            Some(ty) => Ok(ty),
            None => Err(self.error(Code::Syntax, token.place, format!("there is no type `{}`", token.text))),
        }
    }

    /// Parses the rest of a matrix type after `coopmat`: `<f16, 16x16, a, subgroup>`.
    fn matrix_type(&mut self, word: Token<'t>) -> Parsed<Type> {
        self.expect("<")?;
        let component = self.expect_kind(TokenKind::Word, "a component type")?;
        self.expect(",")?;
        let sides = self.expect_kind(TokenKind::Number, "rows and columns, such as `16x16`")?;
        self.expect(",")?;
        let role = self.expect_kind(TokenKind::Word, "`a`, `b` or `acc`")?;
        self.expect(",")?;
        let scope = self.expect_kind(TokenKind::Word, "`subgroup` or `workgroup`")?;
        self.expect(">")?;
        let name = format!("coopmat<{}, {}, {}, {}>", component.text, sides.text, role.text, scope.text);
        match Type::parse(&name) {
            Some(ty) => Ok(ty),
            None => {
                let place = self.place_from(word.place);
                let message = format!(
                    "there is no type `{name}`; one is written like `coopmat<f16, 16x16, a, subgroup>`, of role `a`, \
                     `b` or `acc`, and scope `subgroup` or `workgroup`"
                );
                Err(self.error(Code::Syntax, place, message))
            }
        }
    }

    /// Parses a declaration, if one begins here.
    pub(super) fn declaration(&mut self) -> Option<Parsed<()>> {
        let start = self.token;
        if start.kind != TokenKind::Word
            || !matches!(start.text, "buffer" | "param" | "shared" | "local" | "view" | "needs" | "require")
        {
            return None;
        }
        if !self.in_declarations {
            let message = format!("`{}` stands after an instruction; declarations come first", start.text);
            return Some(Err(self.error(Code::Syntax, start.place, message)));
        }
        self.bump();
        Some(match start.text {
            "require" => self.require(start.place),
            "needs" => self.needs(),
            _ => self.declare(start),
        })
    }

    /// Parses the rest of a requirement that instructions do not imply, after `needs`.
    fn needs(&mut self) -> Parsed<()> {
        if !self.token.is_word(Capability::WorkgroupProgress.name()) {
            return Err(self.unexpected("`workgroup_progress`"));
        }
        self.bump();
        self.kernel.needs_progress = true;
        Ok(())
    }

    fn declare(&mut self, word: Token<'t>) -> Parsed<()> {
        let name = self.expect_kind(TokenKind::Name, "a name, such as `%x`")?;
        self.pending.push(name);
        if is_number(name.text) {
            let message = format!("`%{}` is a number, which only values may have for a name", name.text);
            return Err(self.error(Code::Syntax, name.place, message));
        }
        if word.text == "view" {
            return self.view(word, name);
        }
        self.expect(":")?;
        let text = name.text.to_owned();
        let meaning = match word.text {
            "buffer" => {
                let access = self.expect_kind(TokenKind::Word, "`read`, `write` or `read_write`")?;
                let Some(access) = Access::ALL.into_iter().find(|a| a.name() == access.text) else {
                    let message =
                        format!("a buffer is `read`, `write` or `read_write`, not `{}`", access.text);
                    return Err(self.error(Code::Syntax, access.place, message));
                };
                let element = self.type_name()?;
                self.expect("[")?;
                self.expect("]")?;
                let large = self.eat_word("large");
                let location = self.place_from(word.place);
                let id = BufferId::new(self.kernel.buffers.len());
                self.kernel.buffers.push(BufferDecl { name: text, element, access, large, location });
                Meaning::Memory(Memory::Buffer(id))
            }
            "param" => {
                let ty = self.type_name()?;
                let location = self.place_from(word.place);
                let id = ParamId::new(self.kernel.params.len());
                let value = self.kernel.add_value(ty, ValueDef::Param(id), Some(name.text.into()));
                self.kernel.params.push(ParamDecl { name: text, ty, value, location });
                Meaning::Value(value)
            }
            _ => {
                let element = self.type_name()?;
                self.expect("[")?;
                let len = self.count("a number of elements")?;
                self.expect("]")?;
                let initial = if word.text == "shared" && self.eat_word("uninit") {
                    Initial::Uninit
                } else {
                    Initial::Zero
                };
                let location = self.place_from(word.place);
                let declared = ArrayDecl { name: text, element, len, initial, location };
                Meaning::Memory(if word.text == "shared" {
                    self.kernel.shared.push(declared);
                    Memory::Shared(SharedId::new(self.kernel.shared.len() - 1))
                } else {
                    self.kernel.locals.push(declared);
                    Memory::Local(LocalId::new(self.kernel.locals.len() - 1))
                })
            }
        };
        self.pending.clear();
        self.define(name, meaning);
        Ok(())
    }

    /// Parses the rest of a view after its name: `= %base as type[]`.
    fn view(&mut self, word: Token<'t>, name: Token<'t>) -> Parsed<()> {
        self.expect("=")?;
        let base = self.memory()?;
        self.expect_word("as")?;
        let element = self.type_name()?;
        self.expect("[")?;
        self.expect("]")?;
        let location = self.place_from(word.place);
        self.pending.clear();
        let meaning = match base {
            Some(base) => {
                let id = ViewId::new(self.kernel.views.len());
                self.kernel.views.push(ViewDecl { name: name.text.to_owned(), base, element, location });
                Meaning::Memory(Memory::View(id))
            }
            None => Meaning::Poison,
        };
        self.define(name, meaning);
        Ok(())
    }
}
