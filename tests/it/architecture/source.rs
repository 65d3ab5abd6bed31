//! Reads just enough of Rust to know what a file names: comments and literals out, words and signs in.

/// A path that a file names, from the root that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`.
    Path,
    Sign(char),
    Literal,
}

/// A file as tokens, each with its line.
pub(super) struct Source {
    tokens: Vec<(Token, usize)>,
    /// The file's own place in the crate.
    module: Vec<String>,
}

impl Source {
    /// Takes a file's text, and its path below `src`.
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
        let module = parts.filter(|part| part != "mod" && part != "main" && part != "lib").collect();
        Self { tokens: tokens(text), module }
    }

    /// Returns every word and its line.
    pub(super) fn words(&self) -> Vec<(String, usize)> {
        let word = |(token, line): &(Token, usize)| match token {
            Token::Word(word) => Some((word.clone(), *line)),
            _ => None,
        };
        self.tokens.iter().filter_map(word).collect()
    }

    /// Returns the paths that begin at the crate's root, however they are written.
    pub(super) fn of_crate(&self) -> Vec<Use> {
        let mut found = self.of("crate");
        found.extend(self.of("duopool"));
        found.extend(self.relative());
        found
    }

    /// Returns the paths that begin with the word `start`, without it; a group is told as one path each.
    pub(super) fn of(&self, start: &str) -> Vec<Use> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let inside_a_path = at > 0
                && self.tokens[at - 1].0 == Token::Path
                && at > 1
                && matches!(self.tokens[at - 2].0, Token::Word(_));
            if self.is_word(at, start) && self.is(at + 1, &Token::Path) && !inside_a_path {
                self.tree(at + 2, &Vec::new(), &mut found);
            }
        }
        found
    }

    /// Returns the paths that begin with `super`, from the crate's root.
    fn relative(&self) -> Vec<Use> {
        let (mut found, mut inner, mut depth) = (Vec::new(), Vec::<(String, usize)>::new(), 0);
        let mut at = 0;
        while at < self.tokens.len() {
            match &self.tokens[at].0 {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => {
                    depth -= 1;
                    inner.retain(|(_, opened)| *opened <= depth);
                }
                Token::Word(word) if word == "mod" && self.is(at + 2, &Token::Sign('{')) => {
                    if let Some((Token::Word(name), _)) = self.tokens.get(at + 1) {
                        inner.push((name.clone(), depth + 1));
                    }
                }
                Token::Word(word) if word == "super" && self.is(at + 1, &Token::Path) => {
                    let mut base = self.module.clone();
                    base.extend(inner.iter().map(|(name, _)| name.clone()));
                    while self.is_word(at, "super") && self.is(at + 1, &Token::Path) {
                        base.pop();
                        at += 2;
                    }
                    self.tree(at, &base, &mut found);
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Returns each `allow(…)` and `expect(…)` of an attribute, and its line.
    pub(super) fn lint_exceptions(&self) -> Vec<(String, usize)> {
        let (mut found, mut end) = (Vec::new(), 0);
        for at in 0..self.tokens.len() {
            let bang = usize::from(self.is(at + 1, &Token::Sign('!')));
            if self.is(at, &Token::Sign('#')) && self.is(at + 1 + bang, &Token::Sign('[')) {
                end = self.closing(at + 1 + bang);
            }
            let named = self.is_word(at, "allow") || self.is_word(at, "expect");
            if at < end && named && self.is(at + 1, &Token::Sign('(')) {
                let words = self.tokens[at..self.closing(at + 1)].iter().filter_map(|(token, _)| match token {
                    Token::Word(word) => Some(word.as_str()),
                    _ => None,
                });
                found.push((words.collect::<Vec<_>>().join(" "), self.tokens[at].1));
            }
        }
        found
    }

    /// Returns the place of the bracket that closes the one at `at`.
    fn closing(&self, at: usize) -> usize {
        let mut depth = 0_usize;
        for (place, (token, _)) in self.tokens.iter().enumerate().skip(at) {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return place;
            }
        }
        self.tokens.len()
    }

    /// Reads a path or a tree of them at `at`, adds what it names to `found`, and returns the place behind it.
    fn tree(&self, mut at: usize, base: &[String], found: &mut Vec<Use>) -> usize {
        let mut path = base.to_vec();
        let line = self.tokens.get(at).map_or(0, |(_, line)| *line);
        loop {
            match self.tokens.get(at).map(|(token, _)| token) {
                Some(Token::Word(word)) => {
                    if word != "self" {
                        path.push(word.clone());
                    }
                    at += 1;
                }
                Some(Token::Sign('*')) => {
                    path.push("*".to_owned());
                    at += 1;
                }
                Some(Token::Sign('{')) => {
                    at += 1;
                    while at < self.tokens.len() && !self.is(at, &Token::Sign('}')) {
                        at = self.tree(at, &path, found).max(at + 1);
                        while self.is(at, &Token::Sign(',')) {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                _ => {}
            }
            if !self.is(at, &Token::Path) {
                break;
            }
            at += 1;
        }
        if self.is_word(at, "as") {
            at += 2;
        }
        found.push(Use { path, line });
        at
    }

    fn is(&self, at: usize, wanted: &Token) -> bool {
        self.tokens.get(at).is_some_and(|(token, _)| token == wanted)
    }

    fn is_word(&self, at: usize, wanted: &str) -> bool {
        matches!(self.tokens.get(at), Some((Token::Word(word), _)) if word == wanted)
    }
}

fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let (token, end) = next(&chars, at);
        if let Some(token) = token {
            found.push((token, line));
        }
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

/// Returns the token at `at`, if it is one that counts, and the place behind it.
fn next(chars: &[char], at: usize) -> (Option<Token>, usize) {
    let peek = |ahead: usize| chars.get(at + ahead).copied().unwrap_or(' ');
    match chars[at] {
        '/' if peek(1) == '/' => (None, find(chars, at, |c| c == '\n')),
        '/' if peek(1) == '*' => (None, comment_end(chars, at)),
        '"' => (Some(Token::Literal), string_end(chars, at + 1)),
        '\'' if peek(1) == '\\' || peek(2) == '\'' => {
            let quoted = if peek(1) == '\\' { at + 3 } else { at + 2 };
            (Some(Token::Literal), find(chars, quoted, |c| c == '\'') + 1)
        }
        ':' if peek(1) == ':' => (Some(Token::Path), at + 2),
        c if c.is_alphabetic() || c == '_' => word(chars, at),
        c if c.is_whitespace() => (None, at + 1),
        c if c.is_ascii_digit() => (Some(Token::Literal), at + 1),
        c => (Some(Token::Sign(c)), at + 1),
    }
}

/// Returns the word at `at`, or the literal that begins with it.
fn word(chars: &[char], at: usize) -> (Option<Token>, usize) {
    let end = find(chars, at, |c| !c.is_alphanumeric() && c != '_');
    let word: String = chars[at..end].iter().collect();
    let raw = matches!(word.as_str(), "r" | "br" | "cr");
    let hashes = find(chars, end, |c| c != '#');
    match chars.get(hashes) {
        Some('"') if raw => (Some(Token::Literal), raw_end(chars, hashes + 1, hashes - end)),
        Some('"') if hashes == end && matches!(word.as_str(), "b" | "c") => {
            (Some(Token::Literal), string_end(chars, end + 1))
        }
        _ => (Some(Token::Word(word)), end),
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|at| wanted(chars[*at])).unwrap_or(chars.len())
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_end(chars: &[char], from: usize, hashes: usize) -> usize {
    let closes = |at: usize| chars[at] == '"' && (1..=hashes).all(|ahead| chars.get(at + ahead) == Some(&'#'));
    (from..chars.len()).find(|at| closes(*at)).map_or(chars.len(), |at| at + 1 + hashes)
}
