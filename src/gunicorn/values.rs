//! Python's values as those of a configuration file.

use std::ffi::OsString;

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

use crate::config::FileValue;

/// A Python object as a value. Numbers keep their type, paths are text, and a set is a list without an order.
pub(super) fn value(object: &Bound<'_, PyAny>) -> PyResult<FileValue> {
    if object.is_none() {
        return Ok(FileValue::Absent);
    }
    if let Ok(truth) = object.cast::<PyBool>() {
        return Ok(FileValue::Bool(truth.is_true()));
    }
    // The number of an `IntEnum`, too.
    if let Ok(number) = object.cast::<PyInt>() {
        let number = number.call_method0("__int__")?;
        return Ok(FileValue::Number(number.str()?.to_string()));
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        return Ok(FileValue::Number(number.value().to_string()));
    }
    let is_path = || object.hasattr("__fspath__");
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() || is_path()? {
        let text: OsString = object
            .py()
            .import("os")?
            .call_method1("fsdecode", (object,))?
            .extract()?;
        return Ok(FileValue::Text(text));
    }
    if let Ok(values) = object.cast::<PyDict>() {
        let pairs = values.iter().map(|(name, one)| {
            let name = name.str()?.to_string();
            Ok((name, value(&one)?))
        });
        return Ok(FileValue::Table(pairs.collect::<PyResult<_>>()?));
    }
    if object.is_instance_of::<PyList>()
        || object.is_instance_of::<PyTuple>()
        || object.is_instance_of::<PySet>()
    {
        let values = object.try_iter()?.map(|one| value(&one?));
        return Ok(FileValue::List(values.collect::<PyResult<_>>()?));
    }
    Ok(match object.cast::<PyType>() {
        Ok(class) => FileValue::Text(class.fully_qualified_name()?.to_string().into()),
        Err(_) => FileValue::Other(object.repr()?.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::testing::with_python;

    #[test]
    fn values_keep_their_types() {
        with_python(|py| {
            for (code, wanted) in [
                (c"None", "Absent"),
                (c"True", "Bool(true)"),
                (c"0o22", "Number(\"18\")"),
                (c"2.5", "Number(\"2.5\")"),
                (c"'a'", "Text(\"a\")"),
                (c"b'\\xff'", "Text(\"\\xFF\")"),
                (c"__import__('pathlib').Path('/a')", "Text(\"/a\")"),
                (c"('a', 1)", "List([Text(\"a\"), Number(\"1\")])"),
                (c"{'a': '1'}", "Table([(\"a\", Text(\"1\"))])"),
                (c"__import__('signal').SIGTERM", "Number(\"15\")"),
                (c"__import__('logging').Logger", "Text(\"logging.Logger\")"),
                (c"print", "Other(\"<built-in function print>\")"),
                (c"2 ** 70", "Number(\"1180591620717411303424\")"),
            ] {
                let object = py.eval(code, None, None).unwrap();
                assert_eq!(format!("{:?}", value(&object).unwrap()), wanted, "{code:?}");
            }
        });
    }
}
