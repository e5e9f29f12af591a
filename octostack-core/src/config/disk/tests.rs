#![allow(clippy::unwrap_used, reason = "in a helper too, it fails the test that called it")]
use super::*;

fn disk() -> Disk {
    Disk::new(&RandomState::new())
}

/// An empty directory of the test's own.
fn temp_dir(test: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("octostack-disk-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn what_was_seen_first_is_what_a_later_look_is_compared_with() {
    let dir = temp_dir("first");
    let path = dir.join("token");
    let disk = disk();
    // Two variables may name one file, and it may change between.
    for content in ["old", "new"] {
        fs::write(&path, content).unwrap();
        assert_eq!(disk.read_text(&path).unwrap(), content);
    }
    let consulted = disk.into_consulted();
    assert!(!consulted.same(&consulted.look()), "a half of the load has the old one");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_was_found_and_then_read_is_compared_by_content() {
    let dir = temp_dir("found");
    let path = dir.join("default.toml");
    fs::write(&path, "a = 1").unwrap();
    let disk = disk();
    assert!(
        disk.exists(&path).unwrap() && disk.read_text(&path).is_ok() && disk.exists(&path).unwrap()
    );
    let consulted = disk.into_consulted();
    assert!(consulted.same(&consulted.look()));
    fs::write(&path, "a = 2").unwrap();
    assert!(!consulted.same(&consulted.look()));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_path_may_be_a_secret_put_in_its_place_and_is_not_shown() {
    let disk = disk();
    assert!(disk.read_text(Path::new("hunter2/hunter2")).is_err());
    let consulted = disk.into_consulted();
    assert!(!format!("{consulted:?}").contains("hunter2"), "{consulted:?}");
}

#[cfg(unix)]
mod volumes {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes `name` a generation, and turns `..data` to it.
    fn turn(dir: &Path, name: &str) {
        let fresh = dir.join(name);
        fs::create_dir(&fresh).unwrap();
        fs::create_dir(fresh.join("sub")).unwrap();
        for file in ["a", "b"] {
            fs::write(fresh.join(file), name).unwrap();
            fs::write(fresh.join("sub").join(file), name).unwrap();
            let _ = symlink(Path::new(DATA).join(file), dir.join(file));
        }
        symlink(name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join(DATA)).unwrap();
    }

    #[test]
    fn a_look_stays_in_one_generation_and_knows_that_it_is_the_past() {
        let dir = temp_dir("generation");
        turn(&dir, "..1");
        let disk = disk();
        assert_eq!(disk.read_text(&dir.join("a")).unwrap(), "..1");
        assert!(!disk.torn());
        turn(&dir, "..2");
        assert_eq!(disk.read_text(&dir.join("b")).unwrap(), "..1");
        assert!(disk.torn());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_generation_that_goes_or_comes_during_a_look_tears_it() {
        let dir = temp_dir("torn");
        let disk = disk();
        assert!(!disk.exists(&dir.join("a")).unwrap());
        turn(&dir, "..1");
        assert_eq!(disk.read_text(&dir.join("b")).unwrap(), "..1");
        assert!(disk.torn(), "nothing, then something");

        let disk = super::disk();
        assert_eq!(disk.read_text(&dir.join("a")).unwrap(), "..1");
        turn(&dir, "..2");
        fs::remove_dir_all(dir.join("..1")).unwrap();
        assert!(disk.read_text(&dir.join("b")).is_err(), "the past is gone");
        assert!(disk.torn());
        fs::remove_dir_all(dir).unwrap();
    }

    /// By the link itself, and by links from elsewhere: to a file, to the volume, to a directory
    /// in it, to a link.
    #[test]
    fn however_a_file_of_a_volume_is_named_one_generation_is_seen() {
        let (dir, app) = (temp_dir("volume"), temp_dir("app"));
        for (link, target) in
            [("a", "a"), ("b", "b"), ("volume", ""), ("sub", "sub"), ("data", DATA)]
        {
            symlink(dir.join(target), app.join(link)).unwrap();
        }
        symlink("data", app.join("twice")).unwrap();
        symlink("..data/sub", dir.join("sub")).unwrap();
        turn(&dir, "..1");
        let named = [
            (dir.join("..data/a"), dir.join("..data/b")),
            (dir.join("a"), dir.join("sub/b")),
            (app.join("a"), app.join("b")),
            (app.join("volume/a"), app.join("volume/sub/b")),
            (app.join("sub/a"), dir.join("sub/b")),
            (app.join("data/a"), app.join("twice/b")),
        ];
        for (n, (first, second)) in named.into_iter().enumerate() {
            let (now, next) = (format!("..{}", n + 1), format!("..{}", n + 2));
            let disk = disk();
            assert_eq!(disk.read_text(&first).unwrap(), now, "{first:?}");
            turn(&dir, &next);
            assert_eq!(disk.read_text(&second).unwrap(), now, "{second:?}");
            assert!(disk.torn(), "{first:?}");
        }
        // Two names of the volume itself may lead to two generations, but not unseen.
        let disk = disk();
        let first = disk.read_text(&app.join("volume/a")).unwrap();
        turn(&dir, "..9");
        assert_ne!(disk.read_text(&dir.join("b")).unwrap(), first);
        assert!(disk.torn());
        for dir in [dir, app] {
            fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn a_release_that_is_switched_by_its_link_is_seen_whole() {
        let dir = temp_dir("release");
        for release in ["1", "2"] {
            fs::create_dir(dir.join(release)).unwrap();
            for file in ["a", "b"] {
                fs::write(dir.join(release).join(file), release).unwrap();
            }
        }
        symlink("1", dir.join("current")).unwrap();
        let disk = disk();
        assert_eq!(disk.read_text(&dir.join("current/a")).unwrap(), "1");
        symlink("2", dir.join("next")).unwrap();
        fs::rename(dir.join("next"), dir.join("current")).unwrap();
        assert_eq!(disk.read_text(&dir.join("current/b")).unwrap(), "1");
        assert!(disk.torn());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn links_that_lead_nowhere_or_in_circles_end() {
        let dir = temp_dir("circle");
        symlink("b", dir.join("a")).unwrap();
        symlink("a", dir.join("b")).unwrap();
        symlink("nowhere", dir.join(DATA)).unwrap();
        let disk = disk();
        assert!(disk.exists(&dir.join("a")).is_err());
        assert!(disk.read_text(&dir.join("c")).is_err());
        assert!(!disk.torn(), "it stays so");
        fs::remove_dir_all(dir).unwrap();
    }

    /// What was meant to be there is not the same as nothing, and both ends of that are a change.
    #[test]
    fn a_link_that_leads_nowhere_is_something() {
        let dir = temp_dir("broken");
        turn(&dir, "..1");
        let look = || {
            let disk = disk();
            let found = disk.exists(&dir.join("a")).is_ok();
            (found, disk.into_consulted())
        };
        // The file is gone from the volume, and kubelet has not yet removed its link.
        fs::remove_file(dir.join("..1/a")).unwrap();
        let (found, stale) = look();
        assert!(found);
        fs::remove_file(dir.join(DATA)).unwrap();
        let (found, broken) = look();
        assert!(!found && !stale.same(&stale.look()));
        assert!(broken.same(&broken.look()));
        fs::remove_file(dir.join("a")).unwrap();
        assert!(look().0 && !broken.same(&broken.look()));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_an_exchange_is_taken_at_once() {
        let dir = temp_dir("swap");
        turn(&dir, "..1");
        fs::write(dir.join("plain"), "1").unwrap();
        let look = || {
            let disk = disk();
            for file in ["a", "b", "plain"] {
                disk.read_text(&dir.join(file)).unwrap();
            }
            disk.into_consulted()
        };
        let before = look();
        turn(&dir, "..2");
        let now = before.look();
        assert!(!before.same(&now) && before.only_swapped(&now));
        fs::write(dir.join("..2/a"), "by hand").unwrap();
        assert!(!now.only_swapped(&now.look()), "it was written in its place");
        fs::remove_dir_all(&dir).unwrap();
    }
}
