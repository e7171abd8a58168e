//! The driver's own tier: from a shader to a pipeline, by way of what the driver kept of it earlier, if anything. Which
//! calls are made is decided here; making them is a [`Functions`]' business, so that tests can put a driver of their own
//! in its place.

use std::sync::OnceLock;

use ash::prelude::VkResult;
use ash::vk;

use crate::blob::{Blob, Writer, is_cache_data};
use crate::pipeline_binary::{PipelineBinary, StoredBinary};

/// How pipelines are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// As the binaries of `VK_KHR_pipeline_binary`.
    Binaries,
    /// As the data of a `VkPipelineCache`; a driver can be told to fail rather than compile.
    CacheData,
    /// As the data of a `VkPipelineCache`, of a driver that cannot be told so.
    CacheDataUntold,
}

/// What a pipeline is to be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With<'a> {
    /// The compiler, with nothing kept.
    Compiler,
    /// The compiler, keeping binaries.
    CapturingCompiler,
    /// The compiler, and what a cache has.
    Cache(vk::PipelineCache),
    /// What a cache has, and nothing else.
    CacheOnly(vk::PipelineCache),
    /// Binaries.
    Binaries(&'a [PipelineBinary]),
}

/// What a driver says of a pipeline that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// It came from the cache that was passed.
    Hit,
    /// It did not.
    Missed,
    /// It does not say.
    Silent,
}

/// The calls of a driver that concern one shader. Handles are of its device.
pub(crate) trait Functions {
    /// `vkCreateComputePipelines`. `PIPELINE_COMPILE_REQUIRED` is an error here, and `TIMEOUT` one of a driver that was still at it.
    fn create_pipeline(&self, with: With<'_>) -> VkResult<(vk::Pipeline, Feedback)>;
    /// `vkCreatePipelineCache`.
    fn create_cache(&self, data: &[u8]) -> VkResult<vk::PipelineCache>;
    /// `vkGetPipelineCacheData`.
    fn cache_data(&self, cache: vk::PipelineCache) -> VkResult<Vec<u8>>;
    /// `vkDestroyPipelineCache`.
    fn destroy_cache(&self, cache: vk::PipelineCache);
    /// `vkCreatePipelineBinariesKHR` and `vkGetPipelineBinaryDataKHR` of a pipeline that captured them.
    fn captured(&self, pipeline: vk::Pipeline) -> VkResult<Vec<StoredBinary>>;
    /// `vkCreatePipelineBinariesKHR` of what was stored.
    fn create_binaries(&self, stored: &[StoredBinary]) -> VkResult<Vec<PipelineBinary>>;
    /// `vkDestroyPipelineBinaryKHR`.
    fn destroy_binaries(&self, binaries: &[PipelineBinary]);
}

/// A device's driver, as far as it keeps pipelines.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) keeping: Keeping,
    pub(crate) writer: Writer,
    /// Whether it gives anything to keep: known after the first compile.
    keeps: OnceLock<bool>,
}

/// A pipeline made from what was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Nothing was compiled.
    Whole(vk::Pipeline),
    /// The driver does not say whether it compiled.
    Unknown(vk::Pipeline),
    /// The driver compiled all the same.
    Compiled(vk::Pipeline),
    /// The driver does not take what was kept, for this reason.
    Refused(vk::Result),
}

impl Driver {
    pub(crate) fn new(keeping: Keeping, writer: Writer) -> Self {
        Self { keeping, writer, keeps: OnceLock::new() }
    }

    /// Whether it gives anything to keep, if that is known.
    pub(crate) fn keeps(&self) -> Option<bool> {
        self.keeps.get().copied()
    }

    /// Has the driver compile a shader. What can be kept comes with the pipeline.
    pub(crate) fn compile(&self, functions: &dyn Functions) -> VkResult<(vk::Pipeline, Option<Vec<u8>>)> {
        if self.keeps() == Some(false) {
            return Ok((functions.create_pipeline(With::Compiler)?.0, None));
        }
        let (pipeline, blob) = match self.keeping {
            Keeping::Binaries => {
                let (pipeline, _) = functions.create_pipeline(With::CapturingCompiler)?;
                // Without its binaries a pipeline is as good as any.
                let stored = functions.captured(pipeline).unwrap_or_default();
                (pipeline, (!stored.is_empty()).then_some(Blob::Binaries(stored)))
            }
            Keeping::CacheData | Keeping::CacheDataUntold => self.compile_with_cache(functions)?,
        };
        let _ = self.keeps.set(blob.is_some());
        Ok((pipeline, blob.map(|blob| blob.encode(&self.writer))))
    }

    /// Compiles into a cache of its own. A driver that keeps nothing leaves it as it was.
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

    /// Makes a pipeline of what was kept, and compiles nothing if the driver can be told so.
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
            // Written for another device, or in a way that this device no longer keeps pipelines.
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

/// What a failure to make a pipeline from what was kept means: a lost device is lost, a driver that takes too long is asked for nothing
/// more, anything else is that it is refused.
fn refused(error: vk::Result) -> VkResult<Restored> {
    match error {
        vk::Result::ERROR_DEVICE_LOST | vk::Result::TIMEOUT => Err(error),
        _ => Ok(Restored::Refused(error)),
    }
}

#[cfg(test)]
mod tests;
