//! State that older and newer programs have stored.

use kelpie::{Cluster, Error, Result, Turn, View, actor, handlers};
use serde::{Deserialize, Serialize};

/// The same actor type in three versions of a program.
mod first {
    use super::*;

    #[actor(name = "profile", version = 1)]
    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Profile {
        pub(super) name: String,
    }

    #[handlers]
    impl Profile {
        pub async fn rename(&mut self, _: &mut Turn, name: String) -> Result<()> {
            self.name = name;
            Ok(())
        }
    }
}

mod second {
    use super::*;

    /// First and last name.
    #[actor(name = "profile", version = 2, upgrades(1 => from_first))]
    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Profile(String, String);

    fn from_first(old: super::first::Profile) -> Profile {
        Profile(old.name, String::new())
    }

    #[handlers]
    impl Profile {
        pub async fn rename(&mut self, _: &mut Turn, first: String, last: String) -> Result<()> {
            *self = Self(first, last);
            Ok(())
        }
    }
}

mod third {
    use super::*;

    #[actor(name = "profile", version = 3, upgrades(1 => from_first, 2 => from_second))]
    #[derive(Default, Serialize, Deserialize)]
    pub(crate) struct Profile {
        names: Vec<String>,
    }

    fn from_first(old: super::first::Profile) -> Profile {
        Profile { names: vec![old.name] }
    }

    fn from_second((first, last): (String, String)) -> Profile {
        Profile { names: vec![first, last] }
    }

    #[handlers]
    impl Profile {
        pub async fn add(&mut self, _: &mut Turn, name: String) -> Result<usize> {
            self.names.push(name);
            Ok(self.names.len())
        }

        pub async fn names(&self, _: &View) -> Result<Vec<String>> {
            Ok(self.names.clone())
        }
    }
}

async fn first_program(store: &str) -> Cluster {
    kelpie::open(store).actor::<first::Profile>().start().await.expect("the store opens")
}

async fn second_program(store: &str) -> Cluster {
    kelpie::open(store).actor::<second::Profile>().start().await.expect("the store opens")
}

async fn third_program(store: &str) -> Cluster {
    kelpie::open(store).actor::<third::Profile>().start().await.expect("the store opens")
}

#[tokio::test]
async fn state_of_an_old_program_is_upgraded_and_of_a_newer_one_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", dir.path().display());

    let cluster = first_program(&store).await;
    cluster.actor::<first::Profile>("p").rename("Ada".to_owned()).await.unwrap();
    cluster.close().await.unwrap();

    let cluster = third_program(&store).await;
    let profile = cluster.actor::<third::Profile>("p");
    assert_eq!(profile.names().await.unwrap(), ["Ada"]);
    assert_eq!(profile.add("Byron".to_owned()).await.unwrap(), 2);
    cluster.close().await.unwrap();

    let cluster = first_program(&store).await;
    let newer = cluster.actor::<first::Profile>("p").rename("Eve".to_owned()).await.unwrap_err();
    let Error::Fix(reason) = newer else { panic!("{newer:?}") };
    assert_eq!(reason.code, "state.newer");
    assert!(reason.message.contains("was stored by version 3"), "{reason}");
    cluster.close().await.unwrap();

    let cluster = third_program(&store).await;
    assert_eq!(cluster.actor::<third::Profile>("p").names().await.unwrap(), ["Ada", "Byron"]);
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn each_former_version_has_its_own_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("embedded:{}", dir.path().display());

    let cluster = first_program(&store).await;
    cluster.actor::<first::Profile>("ada").rename("Ada".to_owned()).await.unwrap();
    cluster.close().await.unwrap();

    let cluster = second_program(&store).await;
    let (first, last) = ("George".to_owned(), "Byron".to_owned());
    cluster.actor::<second::Profile>("george").rename(first, last).await.unwrap();
    cluster.close().await.unwrap();

    // One of them was stored by version 1, the other by version 2.
    let cluster = third_program(&store).await;
    assert_eq!(cluster.actor::<third::Profile>("ada").names().await.unwrap(), ["Ada"]);
    assert_eq!(cluster.actor::<third::Profile>("george").names().await.unwrap(), ["George", "Byron"]);
    cluster.close().await.unwrap();
}
