//! [`ImportSpec`]: the application that a text names, and how it is imported.
//!
//! Each failure is one sentence, with the exit status of Gunicorn: 3 where importing failed, 4 where the imported
//! module does not have the application.
//!
//! ```text
//!   MODULE                       its `application`, else its `app`
//!   MODULE:NAME.NAME             an attribute
//!   MODULE:NAME(1, key="two")    the result of a factory; arguments are literals
//! ```

use std::env;
use std::path::Path;

use pyo3::exceptions::{
    PyAttributeError, PyModuleNotFoundError, PySyntaxError, PySystemExit, PyTypeError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::errors;
use crate::error::{Error, Result};

/// A parsed specification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ImportSpec<'s> {
    text: &'s str,
    module: &'s str,
    /// `None` for [`USUAL_NAMES`].
    attribute: Option<&'s str>,
    /// The arguments of a factory, with their parentheses.
    arguments: Option<&'s str>,
}

/// The names that are looked for where the specification gives none.
const USUAL_NAMES: [&str; 2] = ["application", "app"];

impl<'s> ImportSpec<'s> {
    /// Parses a specification.
    ///
    /// # Errors
    ///
    /// A text that is not a specification, with a hint where it is the name of a file.
    pub(crate) fn parse(text: &'s str) -> Result<Self> {
        let (module, rest) = match text.split_once(':') {
            Some((module, rest)) => (module, Some(rest)),
            None => (text, None),
        };
        let file = Path::new(module);
        if file.extension().is_some_and(|kind| kind == "py") && file.exists() {
            let path = file.with_extension("");
            let better = match path.file_name() {
                Some(name) if path.is_absolute() => name.to_string_lossy(),
                _ => path.to_string_lossy(),
            };
            return Err(Error::boot(format!(
                "'{module}' is a file, and an application is named by its module: did you mean '{}:{}'?",
                better.trim_start_matches("./").replace('/', "."),
                rest.unwrap_or(USUAL_NAMES[1]),
            )));
        }
        let (attribute, arguments) = match rest {
            Some(rest) => match rest.find('(') {
                Some(at) => (Some(&rest[..at]), Some(&rest[at..])),
                None => (Some(rest), None),
            },
            None => (None, None),
        };
        let closed = arguments.is_none_or(|arguments| arguments.ends_with(')'));
        if is_dotted_name(module) && attribute.is_none_or(is_dotted_name) && closed {
            return Ok(Self {
                text,
                module,
                attribute,
                arguments,
            });
        }
        Err(Error::app(format!(
            "'{text}' does not name an application: write MODULE, MODULE:NAME or MODULE:FACTORY()"
        )))
    }

    /// Imports the module and returns the application.
    ///
    /// # Errors
    ///
    /// In one sentence that names the module, its file and the cause. The traceback of an exception is logged.
    pub(crate) fn load<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let module = py
            .import(self.module)
            .map_err(|error| self.import_failed(py, &error))?
            .into_any();
        let found = match self.attribute {
            Some(path) => self.attribute(&module, path)?,
            None => self.usual_attribute(&module)?,
        };
        let application = match self.arguments {
            Some(arguments) => self.call(&found, arguments)?,
            None => found,
        };
        if application.is_callable() {
            return Ok(application);
        }
        let kind = application.get_type();
        let kind = kind
            .name()
            .map_or_else(|_| String::new(), |name| name.to_string());
        Err(Error::app(format!(
            "'{}'{} is not an application: an object of type {kind} cannot be called",
            self.text,
            file_of(&module),
        )))
    }

    fn usual_attribute<'py>(&self, module: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>> {
        for name in USUAL_NAMES {
            if module.hasattr(name).unwrap_or(false) {
                return self.attribute(module, name);
            }
        }
        Err(Error::app(format!(
            "module '{}'{} has neither '{}' nor '{}': name the application, as in '{0}:NAME'",
            self.module,
            file_of(module),
            USUAL_NAMES[0],
            USUAL_NAMES[1],
        )))
    }

    fn attribute<'py>(&self, module: &Bound<'py, PyAny>, path: &str) -> Result<Bound<'py, PyAny>> {
        let py = module.py();
        let mut found = module.clone();
        let mut owner = format!("module '{}'{}", self.module, file_of(module));
        for name in path.split('.') {
            found = match found.getattr(name) {
                Ok(next) => next,
                Err(error) if error.is_instance_of::<PyAttributeError>(py) => {
                    let hint = nearest(&found, name)
                        .map(|name| format!("; did you mean '{name}'?"))
                        .unwrap_or_default();
                    return Err(Error::app(format!(
                        "{owner} has no attribute '{name}'{hint}"
                    )));
                }
                Err(error) => return Err(self.failed(py, &error, "load")),
            };
            owner = format!("'{}:{name}'", self.module);
        }
        Ok(found)
    }

    fn call<'py>(&self, factory: &Bound<'py, PyAny>, arguments: &str) -> Result<Bound<'py, PyAny>> {
        let py = factory.py();
        let (positional, named) = literals(py, arguments).map_err(|error| {
            Error::app(format!(
                "the arguments in '{}' must be literals: {}",
                self.text,
                errors::message(py, &error)
            ))
        })?;
        factory.call(positional, Some(&named)).map_err(|error| {
            // A call that did not get as far as the factory's first line has no traceback.
            if error.is_instance_of::<PyTypeError>(py) && error.traceback(py).is_none() {
                return Error::app(format!(
                    "'{}' cannot be called so: {}",
                    self.text,
                    errors::message(py, &error)
                ));
            }
            self.failed(py, &error, "make")
        })
    }

    fn import_failed(&self, py: Python<'_>, error: &PyErr) -> Error {
        // The traceback of a module that was not found at all is empty: importlib leaves itself out.
        if error.is_instance_of::<PyModuleNotFoundError>(py) && error.traceback(py).is_none() {
            let cause = errors::message(py, error).replacen("No module", "no module", 1);
            let cwd = env::current_dir().map_or_else(
                |_| String::new(),
                |cwd| format!(" (searched from {})", cwd.display()),
            );
            return Error::boot(format!(
                "cannot import the application '{}': {cause}{cwd}",
                self.module
            ));
        }
        self.failed(py, error, "import")
    }

    /// Logs an exception of the application, and returns it as one sentence.
    fn failed(&self, py: Python<'_>, error: &PyErr, what: &str) -> Error {
        let traceback = errors::traceback(py, error);
        errors::log(py, &traceback);
        let at = errors::place(py, error)
            .map(|place| format!(" ({place})"))
            .unwrap_or_default();
        let text = self.text;
        if error.is_instance_of::<PySyntaxError>(py) {
            let value = error.value(py);
            let part = |name: &str| {
                value
                    .getattr(name)
                    .map_or_else(|_| String::new(), |part| part.to_string())
            };
            return Error::boot(format!(
                "cannot {what} the application '{text}': syntax error in {} line {}: {}",
                part("filename"),
                part("lineno"),
                part("msg"),
            ))
            .because(traceback);
        }
        if error.is_instance_of::<PySystemExit>(py) {
            let code = errors::message(py, error);
            return Error::boot(format!(
                "cannot {what} the application '{text}': it called sys.exit({code}){at}"
            ))
            .because(traceback)
            .with_exit_status(errors::exit_status(py, error));
        }
        Error::boot(format!(
            "cannot {what} the application '{text}': {}{at}",
            errors::summary(py, error)
        ))
        .because(traceback)
    }
}

fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut characters = part.chars();
        characters
            .next()
            .is_some_and(|first| first == '_' || first.is_alphabetic())
            && characters.all(|other| other == '_' || other.is_alphanumeric())
    })
}

/// ` (/srv/hello.py)`, or nothing for a module without a file.
fn file_of(module: &Bound<'_, PyAny>) -> String {
    module
        .getattr("__file__")
        .ok()
        .filter(|file| !file.is_none())
        .map(|file| format!(" ({file})"))
        .unwrap_or_default()
}

/// The attribute whose name is nearest to `name`.
fn nearest(object: &Bound<'_, PyAny>, name: &str) -> Option<String> {
    let names = object.dir().ok()?;
    object
        .py()
        .import("difflib")
        .and_then(|difflib| difflib.call_method1("get_close_matches", (name, names, 1)))
        .and_then(|found| found.get_item(0)?.extract())
        .ok()
}

/// The values of `(1, key="two")`: positional and named.
fn literals<'py>(
    py: Python<'py>,
    arguments: &str,
) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
    let ast = py.import("ast")?;
    let value = |node: Bound<'py, PyAny>| ast.call_method1("literal_eval", (node,));
    let call = ast
        .call_method1("parse", (format!("f{arguments}"), "<arguments>", "eval"))?
        .getattr("body")?;
    // Fails for more than one call, such as `f(1)(2)`.
    call.getattr("func")?.getattr("id")?;
    let mut positional = Vec::new();
    for node in call.getattr("args")?.try_iter()? {
        positional.push(value(node?)?);
    }
    let named = PyDict::new(py);
    for keyword in call.getattr("keywords")?.try_iter()? {
        let keyword = keyword?;
        let name = keyword.getattr("arg")?;
        named.set_item(name.cast::<PyString>()?, value(keyword.getattr("value")?)?)?;
    }
    Ok((PyTuple::new(py, positional)?, named))
}

#[cfg(test)]
mod tests {
    use super::super::interpreter;
    use super::super::testing::with_python;
    use super::*;

    /// Loads a specification, with `folder` in `sys.path`.
    fn load(spec: &str, folder: &Path) -> Result<()> {
        let spec = ImportSpec::parse(spec)?;
        with_python(|py| {
            interpreter::set_path(py, &[folder.to_owned()], true).unwrap();
            spec.load(py).map(drop)
        })
    }

    #[test]
    fn a_specification_splits_into_module_name_and_arguments() {
        let spec = ImportSpec::parse("a.b:c.d(1, x=':(')").unwrap();
        assert_eq!(spec.module, "a.b");
        assert_eq!(spec.attribute, Some("c.d"));
        assert_eq!(spec.arguments, Some("(1, x=':(')"));
        assert_eq!(ImportSpec::parse("a").unwrap().attribute, None);
    }

    #[test]
    fn what_is_no_specification_is_refused_with_status_4() {
        for text in [
            "", ":", "a:", ":app", "a b:c", "a:b(", "a:(1)", "1a:b", "a:b.c()x", "a..b",
        ] {
            let error = ImportSpec::parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 4, "{text}");
        }
    }

    /// A folder of modules and the error of loading `spec` from it.
    fn refuse(name: &str, source: &str, spec: &str) -> Error {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{name}.py")), source).unwrap();
        load(spec, folder.path()).unwrap_err()
    }

    #[test]
    fn a_module_that_does_not_exist_is_named_with_the_folder() {
        let error = load("no_such_shop.wsgi", Path::new(".")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(
                "cannot import the application 'no_such_shop.wsgi': no module named 'no_such_shop' \
                 (searched from /"
            ),
            "{text}"
        );
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn a_missing_attribute_is_named_with_the_nearest_one() {
        let error = refuse(
            "t_attribute",
            "application = print",
            "t_attribute:aplication",
        );
        let text = error.to_string();
        assert!(text.starts_with("module 't_attribute' (/"), "{text}");
        assert!(
            text.ends_with("has no attribute 'aplication'; did you mean 'application'?"),
            "{text}"
        );
        assert_eq!(error.exit_code(), 4);
    }

    #[test]
    fn what_cannot_be_called_is_not_an_application() {
        let error = refuse("t_str", "app = 'x'", "t_str");
        assert!(
            error.to_string().contains("type str cannot be called"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 4);
        assert_eq!(refuse("t_none", "app = None", "t_none:app").exit_code(), 4);
        assert_eq!(refuse("t_empty", "", "t_empty").exit_code(), 4);
    }

    #[test]
    fn a_failing_import_names_the_line_and_the_cause() {
        let error = refuse(
            "t_raise",
            "x = 1\nraise ValueError('bad day')\n",
            "t_raise:app",
        );
        let text = error.to_string();
        assert!(
            text.contains("'t_raise:app': ValueError: bad day (/"),
            "{text}"
        );
        assert!(text.ends_with("t_raise.py line 2)"), "{text}");
        assert_eq!(error.exit_code(), 3);

        let error = refuse("t_nested", "import no_such_module_here\n", "t_nested");
        let text = error.to_string();
        assert!(
            text.contains("No module named 'no_such_module_here' (/"),
            "{text}"
        );
    }

    #[test]
    fn a_syntax_error_names_its_file_and_line() {
        let error = refuse("t_syntax", "x = 1\ndef app(:\n", "t_syntax:app");
        let text = error.to_string();
        assert!(text.contains("syntax error in /"), "{text}");
        assert!(text.contains("t_syntax.py line 2: "), "{text}");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn leaving_python_while_importing_is_a_boot_failure() {
        let error = refuse("t_exit", "import sys\nsys.exit(7)\n", "t_exit");
        let text = error.to_string();
        assert!(text.contains("it called sys.exit(7) (/"), "{text}");
        assert_eq!(error.exit_code(), 3);
    }

    #[test]
    fn factories_get_literals_and_their_mistakes_are_explained() {
        let source = "
def make(code, *, text='x'):
    if code == 0: raise RuntimeError('zero')
    def app(environ, start_response): pass
    return app if code > 0 else None
class Site:
    @staticmethod
    def make(): return print
";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t_make.py"), source).unwrap();
        let load = |spec: &str| load(spec, folder.path());
        assert!(load("t_make:make(1, text='a:b')").is_ok());
        assert!(load("t_make:Site.make()").is_ok());
        for (spec, code, words) in [
            ("t_make:make()", 4, "missing 1 required positional argument"),
            ("t_make:make(nope)", 4, "must be literals"),
            ("t_make:make(1)(2)", 4, "must be literals"),
            ("t_make:make(-1)", 4, "cannot be called"),
            ("t_make:make(0)", 3, "RuntimeError: zero"),
        ] {
            let error = load(spec).unwrap_err();
            assert!(error.to_string().contains(words), "{spec}: {error}");
            assert_eq!(error.exit_code(), code, "{spec}");
        }
    }

    #[test]
    fn a_files_name_is_refused_with_the_modules() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello.py");
        std::fs::write(&file, "").unwrap();
        let error = ImportSpec::parse(file.to_str().unwrap()).unwrap_err();
        assert!(
            error.to_string().ends_with("did you mean 'hello:app'?"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 3);
    }
}
