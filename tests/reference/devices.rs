//! Examples of what the commands about devices answer.

use skerry_stanzas::reply::{DeviceChanged, DeviceLine, DeviceList, DeviceMissing};

use crate::examples::{Example, example};

pub fn of_devices() -> Vec<Example> {
    vec![
        example(DeviceList {
            devices: vec![
                DeviceLine {
                    name: Some("gpu".into()),
                    bus: "pci".into(),
                    at: "0000:01:00.0".into(),
                    id: "10de:2204".into(),
                    what: Some("NVIDIA Corporation GA102 [GeForce RTX 3090]".into()),
                    serial: None,
                    driver: Some("vfio-pci".into()),
                    group: Some(14),
                    shares: vec!["0000:01:00.1".into()],
                    machines: vec!["web1".into()],
                    used_by: Some("web1".into()),
                },
                DeviceLine {
                    name: None,
                    bus: "usb".into(),
                    at: "1-2".into(),
                    id: "1050:0407".into(),
                    what: Some("Yubico YubiKey OTP+FIDO+CCID".into()),
                    serial: Some("0012345678".into()),
                    driver: None,
                    group: None,
                    shares: vec![],
                    machines: vec![],
                    used_by: None,
                },
            ],
            missing: vec![DeviceMissing {
                name: "dongle".into(),
                why: "usb 0403:6001 is not there".into(),
                machines: vec!["web2".into()],
            }],
            notes: vec![],
        }),
        example(DeviceChanged {
            name: "key".into(),
            sentence: "The device key is usb 1050:0407, serial 0012345678 now.".into(),
            notes: vec![],
        }),
    ]
}
