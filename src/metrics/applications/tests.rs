use std::os::unix::fs::symlink;

use super::file::entries;
use super::*;

/// A file with these keys, values and times.
fn bytes(samples: &[(&str, f64, f64)]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    for (key, value, time) in samples {
        bytes.extend(i32::try_from(key.len()).unwrap().to_ne_bytes());
        bytes.extend(key.as_bytes());
        bytes.resize(bytes.len() + 8 - (key.len() + 4) % 8, b' ');
        bytes.extend(value.to_ne_bytes());
        bytes.extend(time.to_ne_bytes());
    }
    let used = i32::try_from(bytes.len()).unwrap().to_ne_bytes();
    bytes[..4].copy_from_slice(&used);
    // As many files have.
    bytes.extend([0; 100]);
    bytes
}

const CALLS: &str = r#"["calls", "calls_total", {"path": "/"}, "Calls"]"#;

/// The samples of a folder: names, labels and values.
fn shown(folder: &Path) -> Vec<String> {
    let applications = Applications::new(Some(folder.to_owned()));
    let families = applications.read().into_iter();
    families
        .flat_map(|family| {
            let samples = family.samples.into_iter();
            samples
                .map(move |it| format!("{}{} {:?} {}", family.name, it.suffix, it.labels, it.value))
        })
        .collect()
}

#[test]
fn files_of_processes_are_merged_by_their_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let gauge = |value, time| bytes(&[(r#"["g", "g", {}, ""]"#, value, time)]);
    let write = |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
    write("counter_1.db", bytes(&[(CALLS, 2.0, 0.0)]));
    write("counter_2.db", bytes(&[(CALLS, 3.0, 0.0)]));
    for (mode, values) in [
        (
            "all",
            &[r#"g {"pid": "1"} 4.0"#, r#"g {"pid": "2"} 3.0"#][..],
        ),
        (
            "liveall",
            &[r#"g {"pid": "1"} 4.0"#, r#"g {"pid": "2"} 3.0"#],
        ),
        ("min", &["g {} 3.0"]),
        ("livemax", &["g {} 4.0"]),
        ("sum", &["g {} 7.0"]),
        ("mostrecent", &["g {} 3.0"]),
    ] {
        let files = [1, 2].map(|pid| format!("gauge_{mode}_{pid}.db"));
        write(&files[0], gauge(4.0, 10.0));
        write(&files[1], gauge(3.0, 11.0));
        let wanted: Vec<&str> = [r#"calls_total {"path": "/"} 5.0"#]
            .into_iter()
            .chain(values.iter().copied())
            .collect();
        assert_eq!(shown(folder.path()), wanted, "{mode}");
        for file in files {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
    }
}

#[test]
fn what_a_dead_process_told_of_itself_alone_goes() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "gauge_liveall_7.db",
        "gauge_livesum_7.db",
        "gauge_liveall_77.db",
        "gauge_all_7.db",
        "counter_7.db",
    ] {
        fs::write(folder.path().join(name), bytes(&[])).unwrap();
    }
    forget_process(folder.path(), 7);
    let names = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(
        names,
        ["counter_7.db", "gauge_all_7.db", "gauge_liveall_77.db"]
    );
    forget_process(&folder.path().join("nothing"), 7);
}

#[test]
fn what_cannot_be_used_is_left_out_and_the_rest_shown() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "counter_1.db",
        &bytes(&[
            (r#"["oxicorn_x", "oxicorn_x_total", {}, ""]"#, 1.0, 0.0),
            (r#"["a b", "a b_total", {}, ""]"#, 1.0, 0.0),
            (r#"["a", "a_created", {}, ""]"#, 1.0, 0.0),
            (r#"["a", "a_total", {"x-y": ""}, ""]"#, 1.0, 0.0),
            (r#"["a", "a_total", {"x": 1}, ""]"#, 1.0, 0.0),
            ("[", 1.0, 0.0),
            (CALLS, 2.0, 0.0),
        ]),
    );
    write(
        "gauge_sum_1.db",
        &bytes(&[(r#"["calls", "calls", {}, ""]"#, 9.0, 0.0)]),
    );
    write(
        "gauge_strange_1.db",
        &bytes(&[(r#"["g", "g", {}, ""]"#, 9.0, 0.0)]),
    );
    write(
        "histogram_1.db",
        &bytes(&[(r#"["h", "h_bucket", {"le": "x"}, ""]"#, 9.0, 0.0)]),
    );
    write("counter_2.db", b"");
    write("counter_3.db", &[0xff; 8]);
    write(
        "counter_4.db",
        &[&i32::MAX.to_ne_bytes()[..], &[0; 8]].concat(),
    );
    write("counter.txt", b"");
    fs::create_dir(folder.path().join("counter_5.db")).unwrap();
    symlink(
        folder.path().join("counter_1.db"),
        folder.path().join("counter_6.db"),
    )
    .unwrap();
    nix::unistd::mkfifo(
        &folder.path().join("counter_7.db"),
        nix::sys::stat::Mode::S_IRWXU,
    )
    .unwrap();
    assert_eq!(shown(folder.path()), [r#"calls_total {"path": "/"} 2.0"#]);
    assert!(shown(&folder.path().join("nothing")).is_empty());
}

#[test]
fn a_file_may_end_and_lie_anywhere() {
    let whole = bytes(&[(CALLS, 2.0, 0.0), (CALLS, 3.0, 0.0)]);
    let used = whole.len() - 100;
    for end in 0..used {
        let mut count = 0;
        let read = entries(&whole[..end], |_| count += 1);
        assert_eq!(count, usize::from(end >= 8 + (used - 8) / 2), "{end}");
        assert_eq!(read.is_ok(), end <= 8 || end == 8 + (used - 8) / 2, "{end}");
    }
    for at in 0..used {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole[..used].to_vec();
            damaged[at] = value;
            let mut merger = Merger::default();
            // Whatever comes out, it ends.
            let _ = merger.add(&Source::of("counter_1.db").unwrap(), &damaged);
            merger.finish();
        }
    }
}

#[test]
fn all_files_together_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let large = "x".repeat(1_000_000);
    let samples = [(large.as_str(), 1.0, 0.0); 3];
    for number in 0..20 {
        fs::write(
            folder.path().join(format!("counter_{number}.db")),
            bytes(&samples),
        )
        .unwrap();
    }
    let mut room = Room::default();
    let read = (0..20).filter(|number| {
        let path = folder.path().join(format!("counter_{number}.db"));
        file::read(&path, &mut room).is_ok()
    });
    assert_eq!(read.count(), 5);
}
