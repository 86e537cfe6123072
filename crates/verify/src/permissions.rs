//! Sets of permissions.

use stead_api::permission::{Catalogue, MAX_PERMISSIONS};

/// A set of places in the catalogue: four words, so that "holds all of these" is four instructions and a key's
/// permissions cost the mirror no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet([u64; MAX_PERMISSIONS / 64]);

impl PermissionSet {
    /// Nothing.
    pub const EMPTY: Self = Self([0; MAX_PERMISSIONS / 64]);

    /// The named permissions. Names that the catalogue doesn't know are left out: what was taken out of the
    /// catalogue can be held by nobody.
    pub fn known(catalogue: &Catalogue, names: &[String]) -> Self {
        names.iter().filter_map(|name| catalogue.place(name)).collect()
    }

    /// Adds the permission at a place of the catalogue.
    pub fn insert(&mut self, place: u8) {
        self.0[usize::from(place) / 64] |= 1 << (place % 64);
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// What is in one or the other.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// What is in `self` and not in `held`.
    #[must_use]
    pub fn minus(self, held: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !held.0[word]))
    }

    /// The places, in order.
    pub fn places(self) -> impl Iterator<Item = u8> {
        let of_word = |(number, mut word): (u8, u64)| {
            std::iter::from_fn(move || {
                let place = u8::try_from(word.trailing_zeros()).ok().filter(|place| *place < 64)?;
                word &= word - 1;
                Some(number * 64 + place)
            })
        };
        (0_u8..).zip(self.0).flat_map(of_word)
    }

    /// The names, in the catalogue's order.
    pub fn names(self, catalogue: &Catalogue) -> Vec<String> {
        self.places().map(|place| catalogue.name(place).to_owned()).collect()
    }
}

impl FromIterator<u8> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = u8>>(places: I) -> Self {
        let mut set = Self::EMPTY;
        places.into_iter().for_each(|place| set.insert(place));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_names_the_rest() {
        let set: PermissionSet = [0, 63, 64, 255].into_iter().collect();
        assert!([0_u8, 255].into_iter().collect::<PermissionSet>().minus(set).is_empty());
        assert_eq!([1_u8, 64].into_iter().collect::<PermissionSet>().minus(set), [1].into_iter().collect());
        let catalogue = Catalogue::default();
        let names = vec!["text_to_speech".to_owned(), "gone_from_the_catalogue".to_owned()];
        assert_eq!(PermissionSet::known(&catalogue, &names).names(&catalogue), ["text_to_speech"]);
    }
}
