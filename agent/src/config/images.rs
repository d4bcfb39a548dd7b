//! `[images.NAME]`: what machines are made from.

use super::{Config, ConfigError, Image};

impl Config {
    /// Checks that an image is one thing, and that its files are there.
    pub(super) fn check_image(&self, name: &str, image: &Image) -> Result<(), ConfigError> {
        let key = |field: &str| format!("images.{name}.{field}");
        match (&image.kernel, &image.disk) {
            (None, None) => {
                let what = "needs a kernel or a disk: write kernel = \"/…/vmlinuz\" or disk = \"/…/x.qcow2\"";
                return Err(self.wrong(&format!("images.{name}"), what));
            }
            (Some(_), Some(_)) => {
                return Err(
                    self.wrong(&key("disk"), "an image is a kernel or a disk, not both; leave one out")
                );
            }
            _ => {}
        }
        for (field, path) in [("kernel", &image.kernel), ("initrd", &image.initrd), ("disk", &image.disk)] {
            if let Some(path) = path
                && !path.is_file()
            {
                return Err(self.wrong(&key(field), format!("there is no file {}", path.display())));
            }
        }
        Ok(())
    }
}
