//! The extended state of a vCPU as bytes. It has a length that the host decides.

use kvm_bindings::{Xsave, kvm_xsave};
use zerocopy::IntoBytes;

/// The bytes of a state.
pub(super) fn to_bytes(xsave: &Xsave) -> Vec<u8> {
    let mut bytes = xsave.as_fam_struct_ref().xsave.region.as_bytes().to_vec();
    bytes.extend_from_slice(xsave.as_slice().as_bytes());
    bytes
}

/// A state of this host, which has `more` words of 4 bytes behind the old structure. Missing bytes are zeroes: the
/// parts of the CPU that are in them are as at power-on. `None` if more bytes than that are not zeroes.
pub(super) fn from_bytes(bytes: &[u8], more: usize) -> Option<Xsave> {
    let (old, rest) = bytes.split_at_checked(size_of::<kvm_xsave>())?;
    let mut xsave = Xsave::new(more).ok()?;
    // SAFETY: the length of what comes after the old structure is not changed.
    unsafe { xsave.as_mut_fam_struct() }.xsave.region.as_mut_bytes().copy_from_slice(old);
    let tail = xsave.as_mut_slice().as_mut_bytes();
    let (fits, surplus) = rest.split_at(rest.len().min(tail.len()));
    tail[..fits.len()].copy_from_slice(fits);
    surplus.iter().all(|byte| *byte == 0).then_some(xsave)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_and_surplus_has_to_be_zero() {
        let old = size_of::<kvm_xsave>();
        let bytes: Vec<u8> = (0..old + 64).map(|number| number as u8 | 1).collect();
        let same = from_bytes(&bytes, 16).unwrap();
        assert_eq!(to_bytes(&same), bytes);
        let longer = to_bytes(&from_bytes(&bytes, 20).unwrap());
        assert_eq!((&longer[..bytes.len()], &longer[bytes.len()..]), (&bytes[..], &[0; 16][..]));
        assert!(from_bytes(&bytes, 15).is_none());
        let mut short = bytes.clone();
        short[old + 60..].fill(0);
        assert_eq!(to_bytes(&from_bytes(&short, 15).unwrap()), short[..old + 60]);
        assert!(from_bytes(&bytes[..old - 1], 0).is_none());
    }
}
