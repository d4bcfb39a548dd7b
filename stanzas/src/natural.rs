//! The order in which people look for a name: web2 before web10.

use std::cmp::Ordering;

/// Compares runs of digits as the numbers they are, and the rest letter by letter. A total order: only
/// what is equal is equal in it.
pub fn natural(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one, other);
    loop {
        let (a, b);
        (a, left) = run(left);
        (b, right) = run(right);
        let order = match (number(a), number(b)) {
            (Some(a), Some(b)) => (a.len(), a).cmp(&(b.len(), b)),
            _ => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
        if left.is_empty() && right.is_empty() {
            return one.cmp(other);
        }
    }
}

/// A name among others in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Natural(pub String);

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        natural(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All digits at the beginning, or one other letter; and the rest.
fn run(text: &str) -> (&str, &str) {
    let end = match text.chars().next() {
        Some(first) if !first.is_ascii_digit() => first.len_utf8(),
        _ => text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()),
    };
    text.split_at(end)
}

/// Its digits without leading zeros, if it is a number. It may be a longer one than any type holds.
fn number(run: &str) -> Option<&str> {
    run.starts_with(|c: char| c.is_ascii_digit()).then(|| run.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_count_and_the_rest_is_spelled() {
        let sorted = [
            "",
            "1",
            "1a",
            "2",
            "10",
            "db",
            "größe2",
            "größe10",
            "web",
            "web-1",
            "web-10",
            "web0",
            "web01",
            "web1",
            "web1-2",
            "web1-10",
            "web2",
            "web10",
            "web10a",
            "web99999999999999999999999",
            "webs",
        ];
        let mut shuffled = sorted.to_vec();
        shuffled.sort_unstable();
        assert_ne!(shuffled, sorted);
        shuffled.sort_by(|a, b| natural(a, b));
        assert_eq!(shuffled, sorted);
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(a in "[a01!é]{0,5}", b in "[a01!é]{0,5}", c in "[a01!é]{0,5}") {
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le(), "{a:?} {b:?} {c:?}");
            }
        }
    }
}
