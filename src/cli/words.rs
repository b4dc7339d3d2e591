//! [`split`]: a text as the words of a command line, as a shell reads it.

/// The words of a text. Blanks separate them unless they are quoted; a backslash takes the next character as it is, within
/// double quotes only a quote or a backslash. This is `shlex.split` of Python.
///
/// # Errors
///
/// What has no end.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let next = characters
                    .next()
                    .ok_or("a backslash has nothing behind it")?;
                word.get_or_insert_default().push(next);
            }
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or("a quotation has no end")? {
                        end if end == c => break,
                        '\\' if c == '"' && matches!(characters.peek(), Some('"' | '\\')) => {
                            word.extend(characters.next());
                        }
                        other => word.push(other),
                    }
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (text, words) in [
            ("", &[][..]),
            (" -w 4\t--bind=:80 ", &["-w", "4", "--bind=:80"]),
            (
                "-e 'A=b c' -e \"B=d 'e'\"",
                &["-e", "A=b c", "-e", "B=d 'e'"],
            ),
            (r#"a\ b "c\"d\\e\f" 'g\h'"#, &["a b", r#"c"d\e\f"#, r"g\h"]),
            ("a'b'\"c\" ''", &["abc", ""]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        for text in ["'a", "\"a", "a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
