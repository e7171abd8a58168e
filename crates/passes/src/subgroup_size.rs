//! The check `subgroup_size`: refuses a device with another subgroup size than the caller relies on.

use crate::{PassOptions, Refusal};

pub(crate) fn check(options: &PassOptions) -> Result<(), Refusal> {
    match (options.subgroup_size, options.device_subgroup_size) {
        (Some(size), Some(has)) if size != has => {
            Err(Refusal::unsupported(format!("subgroups of {size}"), format!("subgroups of {has}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_size_is_refused() {
        let options = |subgroup_size| PassOptions {
            subgroup_size,
            device_subgroup_size: Some(32),
            ..PassOptions::default()
        };
        assert_eq!(check(&options(None)), Ok(()));
        assert_eq!(check(&options(Some(32))), Ok(()));
        let error = check(&options(Some(64))).unwrap_err();
        assert_eq!(error.to_string(), "needs subgroups of 64, the device has subgroups of 32");
    }
}
