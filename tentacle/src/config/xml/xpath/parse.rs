//! The grammar of expressions, by recursive descent of bounded depth.

use super::ast::{Axis, Comparison, Expr, Operator, Step, Test};
use super::lex::{Token, tokens};
use super::{MAX_DEPTH, XPathError};

pub(super) fn expression(text: &str) -> Result<Expr, XPathError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
    };
    let expr = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(expr),
        Some(token) => Err(XPathError::Syntax(format!("{} is too much", show(token)))),
    }
}

fn show(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("'{name}'"),
        Token::Qualified(prefix, name) => format!("'{prefix}:{name}'"),
        Token::Literal(text) => format!("the text '{text}'"),
        Token::Number(number) => format!("{number}"),
        Token::Sign(sign) => format!("'{sign}'"),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn follows(&self, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + 1), Some(Token::Sign(found)) if *found == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, words: &[&str]) -> Option<usize> {
        let found = match self.peek() {
            Some(Token::Name(name)) => words.iter().position(|word| word == name),
            _ => None,
        };
        self.at += usize::from(found.is_some());
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), XPathError> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(XPathError::Syntax(format!("'{sign}' is missing")))
        }
    }

    fn or(&mut self) -> Result<Expr, XPathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(XPathError::Syntax("it nests too deep".to_owned()));
        }
        let mut left = self.and()?;
        while self.word(&["or"]).is_some() {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, XPathError> {
        let mut left = self.compare()?;
        while self.word(&["and"]).is_some() {
            left = Expr::And(Box::new(left), Box::new(self.compare()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        const ALL: [(&str, &str, Comparison); 6] = [
            ("=", "eq", Comparison::Equal),
            ("!=", "ne", Comparison::NotEqual),
            ("<", "lt", Comparison::Less),
            ("<=", "le", Comparison::LessOrEqual),
            (">", "gt", Comparison::Greater),
            (">=", "ge", Comparison::GreaterOrEqual),
        ];
        ALL.into_iter()
            .find(|(sign, word, _)| self.take(sign) || self.word(&[word]).is_some())
            .map(|(_, _, comparison)| comparison)
    }

    fn compare(&mut self) -> Result<Expr, XPathError> {
        let mut left = self.sum()?;
        while let Some(comparison) = self.comparison() {
            left = Expr::Compare(comparison, Box::new(left), Box::new(self.sum()?));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expr, XPathError> {
        let mut left = self.product()?;
        loop {
            let operator = if self.take("+") {
                Operator::Add
            } else if self.take("-") {
                Operator::Subtract
            } else {
                return Ok(left);
            };
            left = Expr::Calculate(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Expr, XPathError> {
        let mut left = self.negation()?;
        loop {
            let operator = if self.take("*") {
                Operator::Multiply
            } else {
                match self.word(&["div", "mod"]) {
                    Some(0) => Operator::Divide,
                    Some(_) => Operator::Modulo,
                    None => return Ok(left),
                }
            };
            left = Expr::Calculate(operator, Box::new(left), Box::new(self.negation()?));
        }
    }

    fn negation(&mut self) -> Result<Expr, XPathError> {
        let mut signs = 0;
        while self.take("-") {
            signs += 1;
        }
        let of = self.union()?;
        Ok(match signs {
            0 => of,
            odd if odd % 2 == 1 => Expr::Negate(Box::new(of)),
            _ => Expr::Negate(Box::new(Expr::Negate(Box::new(of)))),
        })
    }

    fn union(&mut self) -> Result<Expr, XPathError> {
        let mut left = self.path()?;
        while self.take("|") {
            left = Expr::Union(Box::new(left), Box::new(self.path()?));
        }
        Ok(left)
    }

    fn path(&mut self) -> Result<Expr, XPathError> {
        let is_call = match self.peek() {
            Some(Token::Name(name)) => {
                self.follows("(")
                    && !matches!(
                        name.as_str(),
                        "node" | "text" | "comment" | "processing-instruction"
                    )
            }
            Some(Token::Literal(_) | Token::Number(_)) => true,
            Some(Token::Sign(sign)) => *sign == "(" || *sign == "$",
            Some(Token::Qualified(..)) | None => false,
        };
        if is_call {
            return self.filter();
        }
        let mut steps = Vec::new();
        let absolute = self.is("/") || self.is("//");
        if self.take("//") {
            steps.push(any_depth());
        } else if self.take("/") && !self.begins_step() {
            return Ok(Expr::Path { absolute, steps });
        }
        self.steps(&mut steps)?;
        Ok(Expr::Path { absolute, steps })
    }

    fn begins_step(&self) -> bool {
        match self.peek() {
            Some(Token::Name(_) | Token::Qualified(..)) => true,
            Some(Token::Sign(sign)) => matches!(*sign, "." | ".." | "@" | "*"),
            Some(Token::Literal(_) | Token::Number(_)) | None => false,
        }
    }

    fn steps(&mut self, steps: &mut Vec<Step>) -> Result<(), XPathError> {
        loop {
            steps.push(self.step()?);
            if self.take("//") {
                steps.push(any_depth());
            } else if !self.take("/") {
                return Ok(());
            }
        }
    }

    fn step(&mut self) -> Result<Step, XPathError> {
        for (sign, axis) in [("..", Axis::Parent), (".", Axis::Itself)] {
            if self.take(sign) {
                return Ok(Step {
                    axis,
                    test: Test::Node,
                    predicates: self.predicates()?,
                });
            }
        }
        let axis = if self.take("@") {
            Axis::Attribute
        } else if self.follows("::") {
            let Some(Token::Name(name)) = self.peek() else {
                return Err(XPathError::Syntax("an axis is missing".to_owned()));
            };
            let axis = Axis::named(name)
                .ok_or_else(|| XPathError::Syntax(format!("'{name}' is no axis")))?;
            self.at += 2;
            axis
        } else {
            Axis::Child
        };
        let test = self.test()?;
        Ok(Step {
            axis,
            test,
            predicates: self.predicates()?,
        })
    }

    fn test(&mut self) -> Result<Test, XPathError> {
        let token = self.peek().cloned();
        let kind = self.follows("(");
        self.at += 1;
        Ok(match token {
            Some(Token::Sign("*")) => Test::Any,
            Some(Token::Qualified(prefix, name)) => match (prefix.as_str(), name.as_str()) {
                ("*", _) => Test::AnyNamed(name),
                (_, "*") => Test::AnyOf(prefix),
                _ => Test::Name(prefix, name),
            },
            Some(Token::Name(name)) if kind => {
                self.expect("(")?;
                let test = match name.as_str() {
                    "node" => Test::Node,
                    "text" => Test::Text,
                    "comment" => Test::Comment,
                    "processing-instruction" => {
                        let target = match self.peek().cloned() {
                            Some(Token::Literal(name) | Token::Name(name)) => Some(name),
                            _ => None,
                        };
                        self.at += usize::from(target.is_some());
                        Test::Instruction(target)
                    }
                    _ => return Err(XPathError::Syntax(format!("'{name}()' is no node test"))),
                };
                self.expect(")")?;
                test
            }
            Some(Token::Name(name)) => Test::Name(String::new(), name),
            Some(token) => {
                return Err(XPathError::Syntax(format!(
                    "{} stands where a name must",
                    show(&token)
                )));
            }
            None => return Err(XPathError::Syntax("a name is missing".to_owned())),
        })
    }

    fn predicates(&mut self) -> Result<Vec<Expr>, XPathError> {
        let mut found = Vec::new();
        while self.take("[") {
            found.push(self.or()?);
            self.expect("]")?;
        }
        Ok(found)
    }

    fn filter(&mut self) -> Result<Expr, XPathError> {
        let token = self.peek().cloned();
        self.at += 1;
        let of = match token {
            Some(Token::Literal(text)) => Expr::Literal(text),
            Some(Token::Number(number)) => Expr::Number(number),
            Some(Token::Sign("(")) => {
                let inner = self.or()?;
                self.expect(")")?;
                inner
            }
            Some(Token::Name(name)) => {
                self.expect("(")?;
                let mut arguments = Vec::new();
                while !self.take(")") {
                    if !arguments.is_empty() {
                        self.expect(",")?;
                    }
                    arguments.push(self.or()?);
                }
                super::functions::check(&name, arguments.len())?;
                Expr::Call(name, arguments)
            }
            _ => return Err(XPathError::Syntax("there are no variables here".to_owned())),
        };
        let predicates = self.predicates()?;
        let mut steps = Vec::new();
        if self.take("//") {
            steps.push(any_depth());
            self.steps(&mut steps)?;
        } else if self.take("/") {
            self.steps(&mut steps)?;
        }
        if predicates.is_empty() && steps.is_empty() {
            return Ok(of);
        }
        Ok(Expr::Filter {
            of: Box::new(of),
            predicates,
            steps,
        })
    }
}

/// What `//` stands for.
fn any_depth() -> Step {
    Step {
        axis: Axis::DescendantOrSelf,
        test: Test::Node,
        predicates: Vec::new(),
    }
}
