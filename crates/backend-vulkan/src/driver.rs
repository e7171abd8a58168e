//! The tier of driver data: from a shader to a pipeline, by way of data that the driver produced earlier, if any. This
//! module decides which calls to make; an implementation of [`Functions`] makes them, so that tests can replace the
//! driver.

use std::sync::OnceLock;

use ash::prelude::VkResult;
use ash::vk;

use crate::blob::{Blob, Writer, is_cache_data};
use crate::pipeline_binary::{PipelineBinary, StoredBinary};

/// The form in which pipelines are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// As the binaries of `VK_KHR_pipeline_binary`.
    Binaries,
    /// As the data of a `VkPipelineCache`; the driver supports `FAIL_ON_PIPELINE_COMPILE_REQUIRED`.
    CacheData,
    /// As the data of a `VkPipelineCache`; the driver does not support `FAIL_ON_PIPELINE_COMPILE_REQUIRED`.
    CacheDataUntold,
}

/// The source of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With<'a> {
    /// The compiler alone.
    Compiler,
    /// The compiler, with binaries captured.
    CapturingCompiler,
    /// The cache, or the compiler if the cache lacks the pipeline.
    Cache(vk::PipelineCache),
    /// The cache alone.
    CacheOnly(vk::PipelineCache),
    /// Binaries.
    Binaries(&'a [PipelineBinary]),
}

/// The driver's creation feedback for a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// The pipeline came from the given cache.
    Hit,
    /// The pipeline did not come from the given cache.
    Missed,
    /// The driver gives no valid feedback.
    Silent,
}

/// The driver calls that concern one shader. Handles are of its device.
pub(crate) trait Functions {
    /// `vkCreateComputePipelines`. `PIPELINE_COMPILE_REQUIRED` is returned as an error, and so is `TIMEOUT` if the
    /// driver exceeds its time limit.
    fn create_pipeline(&self, with: With<'_>) -> VkResult<(vk::Pipeline, Feedback)>;
    /// `vkCreatePipelineCache`.
    fn create_cache(&self, data: &[u8]) -> VkResult<vk::PipelineCache>;
    /// `vkGetPipelineCacheData`.
    fn cache_data(&self, cache: vk::PipelineCache) -> VkResult<Vec<u8>>;
    /// `vkDestroyPipelineCache`.
    fn destroy_cache(&self, cache: vk::PipelineCache);
    /// `vkCreatePipelineBinariesKHR` and `vkGetPipelineBinaryDataKHR` for a pipeline that captured its binaries.
    fn captured(&self, pipeline: vk::Pipeline) -> VkResult<Vec<StoredBinary>>;
    /// `vkCreatePipelineBinariesKHR` from stored data.
    fn create_binaries(&self, stored: &[StoredBinary]) -> VkResult<Vec<PipelineBinary>>;
    /// `vkDestroyPipelineBinaryKHR`.
    fn destroy_binaries(&self, binaries: &[PipelineBinary]);
}

/// The driver of a device, as a producer of pipeline data.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) keeping: Keeping,
    pub(crate) writer: Writer,
    /// True if the driver produces data to store; known after the first compile.
    keeps: OnceLock<bool>,
}

/// The outcome of making a pipeline from stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Created without compiling.
    Whole(vk::Pipeline),
    /// Created; the driver does not say whether it compiled.
    Unknown(vk::Pipeline),
    /// Created, but the driver compiled.
    Compiled(vk::Pipeline),
    /// The driver rejected the data, with this result.
    Refused(vk::Result),
}

impl Driver {
    pub(crate) fn new(keeping: Keeping, writer: Writer) -> Self {
        Self { keeping, writer, keeps: OnceLock::new() }
    }

    /// Returns whether the driver produces data to store, if known.
    pub(crate) fn keeps(&self) -> Option<bool> {
        self.keeps.get().copied()
    }

    /// Compiles a shader. Returns the pipeline and its data to store, if any.
    pub(crate) fn compile(&self, functions: &dyn Functions) -> VkResult<(vk::Pipeline, Option<Vec<u8>>)> {
        if self.keeps() == Some(false) {
            return Ok((functions.create_pipeline(With::Compiler)?.0, None));
        }
        let (pipeline, blob) = match self.keeping {
            Keeping::Binaries => {
                let (pipeline, _) = functions.create_pipeline(With::CapturingCompiler)?;
                // A pipeline is usable even if its binaries cannot be read.
                let stored = functions.captured(pipeline).unwrap_or_default();
                (pipeline, (!stored.is_empty()).then_some(Blob::Binaries(stored)))
            }
            Keeping::CacheData | Keeping::CacheDataUntold => self.compile_with_cache(functions)?,
        };
        let _ = self.keeps.set(blob.is_some());
        Ok((pipeline, blob.map(|blob| blob.encode(&self.writer))))
    }

    /// Compiles into a new pipeline cache. A driver that stores nothing leaves the cache's size unchanged.
    fn compile_with_cache(&self, functions: &dyn Functions) -> VkResult<(vk::Pipeline, Option<Blob>)> {
        let Ok(cache) = functions.create_cache(&[]) else {
            return Ok((functions.create_pipeline(With::Compiler)?.0, None));
        };
        let empty = functions.cache_data(cache).map_or(0, |data| data.len());
        let made = functions.create_pipeline(With::Cache(cache));
        let data = functions.cache_data(cache).ok();
        functions.destroy_cache(cache);
        let data = data.filter(|data| data.len() > empty && is_cache_data(data, &self.writer));
        Ok((made?.0, data.map(Blob::CacheData)))
    }

    /// Makes a pipeline from stored data, without compiling if the driver supports that.
    pub(crate) fn restore(&self, functions: &dyn Functions, kept: &[u8]) -> VkResult<Restored> {
        match (Blob::decode(kept, &self.writer), self.keeping) {
            (Some(Blob::Binaries(stored)), Keeping::Binaries) => {
                let binaries = match functions.create_binaries(&stored) {
                    Ok(binaries) => binaries,
                    Err(error) => return refused(error),
                };
                let made = functions.create_pipeline(With::Binaries(&binaries));
                functions.destroy_binaries(&binaries);
                match made {
                    Ok((pipeline, _)) => Ok(Restored::Whole(pipeline)),
                    Err(error) => refused(error),
                }
            }
            (Some(Blob::CacheData(data)), Keeping::CacheData | Keeping::CacheDataUntold) => {
                let cache = match functions.create_cache(&data) {
                    Ok(cache) => cache,
                    Err(error) => return refused(error),
                };
                let made = self.restore_from(functions, cache);
                functions.destroy_cache(cache);
                made
            }
            // Written for another device, or in a form that this device no longer uses.
            _ => Ok(Restored::Refused(vk::Result::ERROR_INCOMPATIBLE_DRIVER)),
        }
    }

    fn restore_from(&self, functions: &dyn Functions, cache: vk::PipelineCache) -> VkResult<Restored> {
        if self.keeping == Keeping::CacheData {
            return match functions.create_pipeline(With::CacheOnly(cache)) {
                Ok((pipeline, _)) => Ok(Restored::Whole(pipeline)),
                Err(error) => refused(error),
            };
        }
        let (pipeline, feedback) = functions.create_pipeline(With::Cache(cache))?;
        Ok(match feedback {
            Feedback::Hit => Restored::Whole(pipeline),
            Feedback::Missed => Restored::Compiled(pipeline),
            Feedback::Silent => Restored::Unknown(pipeline),
        })
    }
}

/// Converts a failure to make a pipeline from stored data. A lost device and a timeout stay errors; any other result
/// means that the driver rejects the data.
fn refused(error: vk::Result) -> VkResult<Restored> {
    match error {
        vk::Result::ERROR_DEVICE_LOST | vk::Result::TIMEOUT => Err(error),
        _ => Ok(Restored::Refused(error)),
    }
}

#[cfg(test)]
mod tests;
