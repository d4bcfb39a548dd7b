//! What every driver must do, in stories: one suite, played on each driver.
//!
//! The words that bind are the documentation of [`hypervisor_core::driver::Driver`]; a case here holds
//! a driver to some of them. A driver comes with a [`bench::Bench`], which says what a guest of its
//! kind is, and with one line at the foot of this file. Cases that need a capability are played where
//! the driver has it; each says which it was (`cargo nextest run --test contract --no-capture`).
#![allow(clippy::unwrap_used, clippy::panic)]

mod alter;
mod bench;
mod cases;
mod confined;
mod devices;
mod fake;
mod folders;
mod moves;
mod qemu;
mod qemu_only;
mod story;
mod used;

use hypervisor_core::driver::Capability;

use crate::{bench::Bench, story::Story};

/// Plays one case on a driver that can.
async fn play(
    case: &str,
    needs: Option<Capability>,
    bench: Box<dyn Bench>,
    tell: impl AsyncFnOnce(&mut Story),
) {
    let mut story = Story::open(bench).await;
    let driver = story.driver().name();
    match needs.filter(|needed| !story.driver().probe().capabilities.contains(needed)) {
        Some(missing) => println!("{driver}: {case}: not played, it has no {}", missing.word()),
        None => {
            println!("{driver}: {case}");
            tell(&mut story).await;
        }
    }
}

/// One test a case, in a module named for the driver.
macro_rules! play_each {
    ($driver:ident, $bench:expr, [$($chapter:ident :: $case:ident $(($needs:ident))?),* $(,)?]) => {
        mod $driver {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let needs = None$(.or(Some(hypervisor_core::driver::Capability::$needs)))?;
                    let tell = crate::cases::$chapter::$case;
                    crate::play(stringify!($case), needs, Box::new($bench), tell).await;
                }
            )*
        }
    };
}

/// The contract: every case, and the capability it needs.
macro_rules! contract {
    ($driver:ident, $bench:expr) => {
        play_each! { $driver, $bench, [
            life::capabilities_are_what_can_be_reached,
            life::one_that_never_ran_is_off,
            life::started_it_runs,
            life::a_second_start_changes_nothing,
            life::shutdown_ends_in_one_halt,
            life::reboot_is_told,
            life::killed_it_is_off_and_nothing_is_told,
            life::killing_what_does_not_run_is_fine,
            life::nothing_else_can_be_asked_of_one_that_is_off,
            life::forgotten_it_can_be_started_as_if_new,
            life::one_that_runs_is_not_forgotten,
            trouble::a_start_that_fails_leaves_nothing,
            trouble::a_start_dropped_midway_can_be_killed,
            trouble::a_crash_is_told_once,
            trouble::many_at_once,
            restart::a_running_guest_is_found_again,
            restart::a_stopped_machine_is_found_stopped,
            restart::a_paused_guest_is_found_paused (Pause),
            restart::one_that_crashed_meanwhile_is_not_taken_for_one_that_was_shut_down,
            events::are_taken_once,
            events::say_whose_they_are,
            pause::holds_and_resumes_silently (Pause),
            pause::twice_is_fine (Pause),
            pause::a_paused_guest_can_be_killed (Pause),
            reset::the_same_run_goes_on (Reset),
            console::echoes_what_is_typed (Console),
            console::is_kept_when_the_machine_is_off (Console),
            console::ends_for_those_who_follow (Console),
            console::gives_hostile_bytes_as_they_are (Console),
            console::of_one_that_never_ran_is_empty (Console),
            console::a_guest_that_halts_itself_is_told (Console),
            console::a_guest_that_reboots_itself_is_told (Console),
            screen::shows_what_the_guest_draws (Screen),
            screen::stays_when_the_guest_is_held_still (Screen),
            screen::of_one_that_is_off_is_dark (Screen),
            screen::keys_reach_the_guest (Screen),
            screen::no_key_stays_down_when_whoever_pressed_it_is_gone (Screen),
            view::shows_the_very_pixels (Screen),
            view::what_is_typed_there_reaches_the_guest (Screen),
            view::ends_with_the_machine (Screen),
            guest_agent::runs_commands_without_a_shell (GuestAgent),
            guest_agent::says_when_there_is_no_such_program (GuestAgent),
            guest_agent::of_one_that_is_off_does_nothing (GuestAgent),
            guest_agent::a_program_is_found_again_by_its_number (GuestAgent),
            guest_agent::files_are_written_and_read (GuestAgent),
            guest_agent::says_who_it_is_and_who_listens (GuestAgent),
            guest_agent::nobody_is_given_a_password (GuestAgent),
            guest_agent::what_is_not_used_is_given_back (GuestAgent),
            numbers::grow_while_a_guest_works (Numbers),
            numbers::are_found_again_by_the_next_driver (Numbers),
            numbers::of_a_new_run_begin_anew (Numbers),
            numbers::of_one_that_is_off_there_are_none (Numbers),
            alter::memory_goes_and_comes_within_what_it_was_started_with (Alter),
            alter::a_cable_goes_out_and_in (Alter),
            alter::of_one_that_is_off_nothing_is (Alter),
            devices::by_usb_come_and_go_while_it_runs (Alter),
            devices::by_usb_the_first_may_come_with_a_start (Alter),
            devices::on_pci_come_with_a_start (Alter),
            devices::that_cannot_be_had_are_said (Alter),
            adopt::a_machine_of_others_becomes_ours (Adopt),
            adopt::a_name_unknown_is_unfit (Adopt),
            adopt::one_that_runs_takes_nobodys_place (Adopt),
            adopt::what_is_released_is_anothers_again (Adopt),
            adopt::what_was_never_anothers_is_not_released (Adopt),
            disks::are_listed_with_what_they_are (Disks),
            disks::none_is_made_over_another_file (Disks),
            disks::one_at_rest_grows_and_never_shrinks (Disks),
            disks::one_is_attached_grown_and_detached_while_it_runs (Disks),
            disks::what_is_plugged_is_found_again (Disks),
            disks::copies_are_thin_or_whole (Disks),
            live::a_disk_moves_under_its_guest_and_moves_on (Disks),
            live::a_disk_at_rest_is_copied_and_nothing_more (Disks),
            live::copies_of_one_moment_stand_alone (Disks),
            live::what_was_given_up_is_ended_also_by_the_next_driver (Disks),
            layers::what_is_at_rest_is_layered_and_merged (Snapshots),
            layers::a_guest_goes_on_in_the_upper_and_back_in_the_lower_file_silently (Snapshots),
            layers::one_that_is_paused_is_turned_and_stays_so (Snapshots),
            layers::a_raw_disk_is_layered_and_merged (Snapshots),
            layers::one_that_was_left_held_is_found_so_and_goes_on (Snapshots),
            layers::a_disk_it_does_not_have_yet_is_not_layered (Snapshots),
            snapshots::a_machine_at_rest_goes_back_to_one (Snapshots),
            snapshots::a_name_is_taken_once_and_what_is_not_there_is_unfit (Snapshots),
            snapshots::one_is_deleted_and_the_others_stay (Snapshots),
            snapshots::a_machine_that_runs_goes_back_to_its_memory_silently (Snapshots),
            snapshots::one_that_runs_has_its_disks_alone_taken (Snapshots),
            snapshots::one_that_is_paused_stays_so (Snapshots),
            migrate::one_that_runs_goes_on_there_and_stands_still_in_between (Migrate),
            migrate::one_that_was_sent_and_is_called_off_runs_on_here (Migrate),
            migrate::one_that_does_not_come_is_thrown_away_and_runs_on_here (Migrate),
            migrate::one_without_the_right_keys_is_not_let_in (Migrate),
            migrate::one_at_rest_goes_with_its_disks (Migrate),
        ] }
    };
}

contract!(on_fake, crate::fake::FakeBench::in_memory());
contract!(on_fake_in_a_file, crate::fake::FakeBench::in_a_file());
contract!(on_qemu, crate::qemu::QemuBench::new());
