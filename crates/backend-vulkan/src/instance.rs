//! The loader and the `VkInstance`, with the validation layer if requested. Independent of any device.

use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

use ash::{ext, khr, vk};
use fulgurite_hal::Error;
use fulgurite_spec::Code;

use crate::error::{INSTALL_HINT, device_error, unavailable};
use crate::exit;
use crate::lock::lock;
use crate::manifests;
use crate::plan::Queried;
use crate::snapshot::{self, PhysicalSnapshot, QueryError};
use crate::validation::{ValidationLog, messenger};

const VALIDATION_LAYER: &CStr = c"VK_LAYER_KHRONOS_validation";

/// The instance that the devices of this process share. It is never destroyed: NVIDIA's driver can be loaded and
/// unloaded some thirty times, after which the loader finds no driver.
static SHARED: Mutex<Option<Arc<Instance>>> = Mutex::new(None);

/// An instance. Destroyed when dropped; every object made from it must be gone by then.
pub(crate) struct Instance {
    pub(crate) raw: ash::Instance,
    validation: Option<Validation>,
    /// True if `VK_EXT_debug_utils` is enabled; tools such as debuggers provide it to show labels.
    has_debug_utils: bool,
    log: Arc<ValidationLog>,
    /// Holds the loader's library, so it is dropped last.
    entry: ManuallyDrop<ash::Entry>,
}

struct Validation {
    functions: ext::debug_utils::Instance,
    messenger: vk::DebugUtilsMessengerEXT,
}

impl Instance {
    /// Returns the process's instance, or with `validate` a new one, whose layer reports what is left when it is destroyed.
    pub(crate) fn open(validate: bool) -> Result<Arc<Self>, Error> {
        // In a forked process the parent's instance lacks its threads, and the lock may be held for good.
        if validate || exit::is_forked() {
            return Self::create(validate);
        }
        let mut shared = lock(&SHARED);
        if let Some(instance) = &*shared {
            return Ok(Arc::clone(instance));
        }
        let instance = Self::create(validate)?;
        *shared = Some(Arc::clone(&instance));
        Ok(instance)
    }

    /// Loads Vulkan and creates an instance.
    fn create(validate: bool) -> Result<Arc<Self>, Error> {
        // SAFETY: loading runs the initializers of the system's Vulkan loader, which is meant to be loaded this way.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| {
            let reason = format!("the Vulkan loader could not be loaded ({error}); {INSTALL_HINT}");
            unavailable(Code::DriverLoaderMissing, reason)
        })?;
        // SAFETY: the entry points were just loaded.
        let version = unsafe { entry.try_enumerate_instance_version() }
            .map_err(|r| loader_error("vkEnumerateInstanceVersion", r))?
            .unwrap_or(vk::API_VERSION_1_0);
        if version < vk::API_VERSION_1_3 {
            let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
            let reason =
                format!("the Vulkan loader has version {major}.{minor}, 1.3 is needed; {INSTALL_HINT}");
            return Err(unavailable(Code::BackendUnavailable, reason));
        }
        if validate {
            check_validation_is_there(&entry)?;
        }

        let log = Arc::new(ValidationLog::default());
        let application = vk::ApplicationInfo::default()
            .engine_name(c"fulgurite")
            .engine_version(1)
            .api_version(vk::API_VERSION_1_3);
        let layers = [VALIDATION_LAYER.as_ptr()];
        let extensions = [ext::debug_utils::NAME.as_ptr()];
        // Chained to the instance's info, the messenger also reports errors in creating and destroying the instance.
        let mut messenger_info = messenger(&log);
        let mut info = vk::InstanceCreateInfo::default().application_info(&application);
        let has_debug_utils = validate || has_debug_utils(&entry, None)?;
        if has_debug_utils {
            info = info.enabled_extension_names(&extensions);
        }
        if validate {
            info = info.enabled_layer_names(&layers).push_next(&mut messenger_info);
        }
        // SAFETY: everything that `info` points to lives until the call returns.
        let raw = unsafe { entry.create_instance(&info, None) }.map_err(|result| match result {
            vk::Result::ERROR_INCOMPATIBLE_DRIVER | vk::Result::ERROR_INITIALIZATION_FAILED => unavailable(
                Code::NoDriver,
                format!("the loader found no Vulkan driver that works ({result:?}); {INSTALL_HINT}"),
            ),
            other => loader_error("vkCreateInstance", other),
        })?;
        exit::register_handler();
        let mut instance =
            Self { raw, validation: None, has_debug_utils, log, entry: ManuallyDrop::new(entry) };
        if validate {
            let functions = ext::debug_utils::Instance::new(&instance.entry, &instance.raw);
            // SAFETY: the extension is enabled, and the log lives until after the messenger is destroyed.
            let messenger =
                unsafe { functions.create_debug_utils_messenger(&messenger(&instance.log), None) }
                    .map_err(|r| device_error("vkCreateDebugUtilsMessengerEXT", r, 0))?;
            instance.validation = Some(Validation { functions, messenger });
        }
        Ok(Arc::new(instance))
    }

    /// Returns every physical device, in the loader's order.
    fn physical_devices(&self) -> Result<Vec<vk::PhysicalDevice>, Error> {
        // SAFETY: the instance is alive.
        let all = unsafe { self.raw.enumerate_physical_devices() };
        all.map_err(|result| match result {
            vk::Result::ERROR_INITIALIZATION_FAILED => {
                unavailable(Code::NoDriver, format!("no Vulkan driver could be initialised; {INSTALL_HINT}"))
            }
            other => device_error("vkEnumeratePhysicalDevices", other, 0).into(),
        })
    }

    /// Returns every physical device, in the loader's order, and the facts of each.
    pub(crate) fn queried(&self) -> Result<(Vec<vk::PhysicalDevice>, Vec<Queried>), Error> {
        let physical = self.physical_devices()?;
        let queried = physical.iter().map(|device| self.query(*device)).collect();
        Ok((physical, queried))
    }

    /// Queries the facts of a physical device of this instance.
    fn query(&self, device: vk::PhysicalDevice) -> Result<PhysicalSnapshot, QueryError> {
        let mut snapshot = snapshot::query(&self.raw, device)?;
        if snapshot.features.cooperative_matrix {
            let functions = khr::cooperative_matrix::Instance::new(&self.entry, &self.raw);
            snapshot.products = snapshot::query_products(&functions, device);
        }
        Ok(snapshot)
    }

    /// Returns whether `VK_EXT_debug_utils` is enabled.
    pub(crate) fn has_debug_utils(&self) -> bool {
        self.has_debug_utils
    }

    /// Returns whether the validation layer is enabled.
    pub(crate) fn validates(&self) -> bool {
        self.validation.is_some()
    }

    /// Returns the log of the validation layer's messages.
    pub(crate) fn validation_log(&self) -> &Arc<ValidationLog> {
        &self.log
    }
}

/// Returns the error for a failed loader call, made before any driver is known. The usual cause is a damaged manifest,
/// which the error then names.
fn loader_error(call: &str, result: vk::Result) -> Error {
    let damaged = manifests::damaged(|name| std::env::var_os(name));
    let named: Vec<String> = damaged.iter().map(|file| format!("`{}`", file.display())).collect();
    let cause = if named.is_empty() {
        "VK_LOADER_DEBUG=error shows why".to_owned()
    } else {
        format!(
            "{} cannot be read: mend or remove it, or name the manifests of good drivers in VK_DRIVER_FILES",
            named.join(" and ")
        )
    };
    unavailable(
        Code::DriverLoaderFailed,
        format!("the Vulkan loader failed: {call} gave {result:?}; {cause}"),
    )
}

fn check_validation_is_there(entry: &ash::Entry) -> Result<(), Error> {
    // SAFETY: the entry points were loaded.
    let layers = unsafe { entry.enumerate_instance_layer_properties() }
        .map_err(|r| loader_error("vkEnumerateInstanceLayerProperties", r))?;
    if !layers.iter().any(|l| l.layer_name_as_c_str() == Ok(VALIDATION_LAYER)) {
        return Err(unavailable(
            Code::ValidationMissing,
            "validation was asked for, but the layer VK_LAYER_KHRONOS_validation is not installed (Debian: \
             `vulkan-validationlayers`)",
        ));
    }
    if has_debug_utils(entry, None)? || has_debug_utils(entry, Some(VALIDATION_LAYER))? {
        return Ok(());
    }
    let reason = "validation was asked for, but neither loader nor layer has VK_EXT_debug_utils";
    Err(unavailable(Code::ValidationMissing, reason))
}

/// Returns whether the loader, or an installed layer, has `VK_EXT_debug_utils`.
fn has_debug_utils(entry: &ash::Entry, layer: Option<&CStr>) -> Result<bool, Error> {
    // SAFETY: the entry points were loaded, and the layer is installed.
    let extensions = unsafe { entry.enumerate_instance_extension_properties(layer) }
        .map_err(|r| loader_error("vkEnumerateInstanceExtensionProperties", r))?;
    Ok(extensions.iter().any(|e| e.extension_name_as_c_str() == Ok(ext::debug_utils::NAME)))
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _inside = exit::enter();
        if let Some(validation) = &self.validation {
            // SAFETY: made from this instance, destroyed once.
            unsafe { validation.functions.destroy_debug_utils_messenger(validation.messenger, None) };
        }
        // SAFETY: users of the instance hold an `Arc` of it, so no child object is left. The loader is dropped only here,
        // after everything that was loaded by it.
        unsafe {
            self.raw.destroy_instance(None);
            ManuallyDrop::drop(&mut self.entry);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a driver's object, or `None` if there is no driver and none is required.
    pub(crate) fn if_available<T>(opened: Result<T, Error>) -> Option<T> {
        match opened {
            Ok(opened) => Some(opened),
            Err(error @ Error::Unavailable { .. }) => {
                let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
                let is_required = required.split(',').any(|id| id.trim() == "vulkan");
                assert!(!is_required, "vulkan is required, but: {error}");
                println!("vulkan: unavailable ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn devices_share_an_instance_unless_it_is_validated() {
        let Some(first) = if_available(Instance::open(false)) else { return };
        let again = Instance::open(false).expect("it was opened before");
        assert!(Arc::ptr_eq(&first, &again));
        if let Ok(validated) = Instance::open(true) {
            assert!(validated.validates() && !Arc::ptr_eq(&first, &validated));
        }
    }
}
