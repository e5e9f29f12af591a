//! A pool of database connections whose credentials rotate, and the proof that no query is lost.
//!
//! [`pool`] is a file to copy, and what the chapter on rotation shows. The tests run it with a real
//! PostgreSQL and the client of Vault.
pub mod pool;

#[cfg(test)]
mod tests {
    #[test]
    fn the_chapter_shows_the_code_that_is_tested() {
        let chapter = include_str!("../../../docs/rotation.md");
        assert!(chapter.contains(include_str!("pool.rs")), "copy src/pool.rs into the chapter");
    }
}
