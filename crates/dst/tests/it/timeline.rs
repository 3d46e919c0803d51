//! What there was to see of a run, and the page that shows it.

use std::path::Path;
use std::process::Command;

use kelpie_dst::run::{draw, run, watched};
use kelpie_dst::schedule::{Fault, MachineFault, STORE, Schedule, What};
use kelpie_dst::timeline::{Message, Timeline, Violated, page};
use kelpie_dst::workload;

/// A run with a kill, a pause and a cut-off way to the store.
fn schedule() -> Schedule {
    let machine = |fault| What::Machine { node: 0, fault };
    let fault = |at_ms, for_ms, what| Fault { at_ms, for_ms, what };
    let faults = vec![
        fault(100, 300, machine(MachineFault::Kill)),
        fault(600, 500, machine(MachineFault::Pause)),
        fault(1_200, 300, What::Block { from: 0, to: STORE, both: false, every_ms: 0 }),
    ];
    Schedule { faults, embedded: false, nodes: 2, ..draw(workload::by_name("counters").unwrap(), 1) }
}

#[test]
fn a_timeline_has_what_happened_and_looking_changes_nothing() {
    let schedule = schedule();
    let (verdict, timeline) = watched(&schedule).unwrap();
    assert_eq!(verdict.trace_hash, run(&schedule).unwrap().trace_hash, "to be watched changes nothing");
    assert_eq!(timeline.lanes, ["store", "operator", "clients", "n0", "n1"]);
    let (n0, store) = (3, 0);
    let arrived = timeline.messages.iter().filter(|message| !message.arrived.is_empty());
    assert!(arrived.clone().count() > 100);
    assert!(arrived.clone().all(|message| message.arrived.iter().all(|at| *at >= message.sent)));
    let cut = timeline.began + 1_250_000..timeline.began + 1_490_000;
    let lost = |message: &&Message| message.arrived.is_empty() && (message.from, message.to) == (n0, store);
    assert!(timeline.messages.iter().filter(lost).any(|message| cut.contains(&message.sent)));
    let gaps: Vec<_> = timeline.gaps.iter().map(|gap| (gap.lane, gap.down, gap.to - gap.from)).collect();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    for ((lane, down, lasts), (was_down, lasted)) in gaps.into_iter().zip([(true, 300_000), (false, 500_000)])
    {
        assert!(lane == n0 && down == was_down && lasts.abs_diff(lasted) < 5_000, "{lane} {down} {lasts}");
    }
    let faults: Vec<_> = timeline.faults.iter().map(|fault| (&*fault.lanes, fault.to - fault.from)).collect();
    assert_eq!(faults, [(&[n0][..], 300_000), (&[n0], 500_000), (&[store, n0], 300_000)]);
    assert_eq!(timeline.calls.len(), verdict.history.calls.len());
    assert!(
        timeline.calls.iter().all(|call| call.from <= call.to && call.to <= timeline.ended && !call.violates)
    );
    assert!(timeline.commits.len() > 10 && timeline.commits.iter().all(|commit| commit.by.is_some()));
    assert!(timeline.began < timeline.healed && timeline.healed < timeline.ended);
    assert!(timeline.violations.is_empty() && !timeline.cut_off);
}

#[test]
fn a_page_stands_alone_and_takes_any_text() {
    let (_, mut timeline) = watched(&schedule()).unwrap();
    timeline.scenario = "</script><b>".to_owned();
    let page = page(&timeline).unwrap();
    assert!(page.contains("\\u003c/script>\\u003cb>") && !page.contains("</script><b>"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page asks for something: {outside}");
    }
}

#[cfg(feature = "mutants")]
#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's own")]
fn sim_the_commit_that_violates_an_invariant_is_marked_in_the_page_of_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (file, html, again) =
        (dir.path().join("failure.json"), dir.path().join("failure.html"), dir.path().join("again.html"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"));
    command.args(["run", "--scenario", "counters", "--seeds", "20", "--check", "0"]);
    command.args(["--mutant", "dedup_outside_commit", "--failure"]).arg(&file).arg("--html").arg(&html);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kelpie-sim"));
    let replayed = command.arg("replay").arg(&file).arg("--html").arg(&again).output().unwrap();
    assert_eq!(replayed.status.code(), Some(1), "{}", String::from_utf8_lossy(&replayed.stderr));
    let page = std::fs::read_to_string(&html).unwrap();
    assert_eq!(page, std::fs::read_to_string(&again).unwrap());
    assert!(page.contains(r#""violates":"TransactionAtomicity""#));
    let at = page.split(r#""invariant":"TransactionAtomicity""#).nth(1).unwrap();
    assert!(at.split(r#""at":"#).nth(1).unwrap().starts_with(|first: char| first.is_ascii_digit()));
}

/// Opens a page and returns its body's tag and all of it, after `script` has done in the page
/// what a person would do.
#[expect(clippy::disallowed_methods, reason = "files of the test's own")]
fn opened(dir: &Path, timeline: &Timeline, part: &str, script: &str) -> (String, String) {
    let browser = std::env::var_os("KELPIE_TEST_BROWSER")
        .expect("KELPIE_TEST_BROWSER is not set: run `cargo xtask test`");
    let file = dir.join("page.html");
    let page = page(timeline).unwrap().replace("</body>", &format!("<script>{script}</script></body>"));
    std::fs::write(&file, page).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"])
        .args(["--timeout=60000", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file://{}{part}", file.display()))
        .output()
        .unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let begin = page.find("<body").unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let body = page[begin..].split('>').next().unwrap().to_owned();
    assert!(!body.contains("data-error"), "{body}");
    (body, page)
}

/// The number in an attribute.
fn number(body: &str, name: &str) -> usize {
    let rest = body.split(&format!("data-{name}=\"")).nth(1).unwrap_or_else(|| panic!("no {name}: {body}"));
    rest.split('"').next().unwrap().parse().unwrap()
}

#[test]
fn the_page_of_a_run_works_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut timeline) = watched(&schedule()).unwrap();
    let at = Some(timeline.healed);
    timeline.violations.push(Violated { invariant: "Example".to_owned(), what: "a < b".to_owned(), at });
    let (body, dom) = opened(dir.path(), &timeline, "", "");
    assert_eq!(number(&body, "lanes"), 5);
    assert_eq!(number(&body, "messages"), timeline.messages.len());
    assert!(dom.contains("VIOLATED Example: a &lt; b"), "the violation is told");
    assert!(dom.contains("message n0 → store"), "what there is to see is listed");
    // A part of it, as in a link.
    let (body, dom) = opened(dir.path(), &timeline, "#from=0.05&to=0.2", "");
    let part = number(&body, "shown");
    assert!(part > 0 && part < number(&body, "things") / 2, "{body}");
    assert!(dom.contains("FAULT n0 is killed") && dom.contains("n0 is down"), "the fault and what it does");
    // The wheel zooms, the keys bring all of it back, the search leaves what fits, the mouse
    // finds what lies under it.
    let used = "
        // A browser that shows nobody anything may draw no frames by itself.
        window.requestAnimationFrame = (draws) => setTimeout(draws, 0);
        const does = (what) => new Promise((done) => { what(); setTimeout(done, 50); });
        const say = (name) => { document.body.dataset[name] = document.body.dataset.shown; };
        (async () => {
          for (let turn = 0; turn < 5; turn++) await does(() => canvas.dispatchEvent(
            new WheelEvent('wheel', { deltaY: -300, clientX: 300, clientY: 300, cancelable: true })));
          say('zoomed');
          await does(() => dispatchEvent(new KeyboardEvent('keydown', { key: '0' })));
          say('whole');
          await does(() => { $('find').value = 'FAULT n'; $('find').dispatchEvent(new Event('input')); });
          say('found');
          const place = canvas.getBoundingClientRect();
          const hit = hits[0];
          await does(() => canvas.dispatchEvent(new PointerEvent('pointermove',
            { clientX: place.left + (hit.begin + hit.end) / 2, clientY: place.top + hit.y + hit.h / 2 })));
        })();";
    let (body, dom) = opened(dir.path(), &timeline, "", used);
    assert!(number(&body, "zoomed") < number(&body, "whole") / 2, "{body}");
    assert_eq!(number(&body, "whole"), number(&body, "things"));
    assert_eq!(number(&body, "found"), timeline.faults.len());
    let tip = dom.split("id=\"tip\"").nth(1).unwrap().split("</div>").next().unwrap();
    assert!(tip.contains("FAULT n0 is killed"), "{tip}");
}

#[test]
fn a_page_of_twenty_thousand_messages_is_usable_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let (_, mut timeline) = watched(&schedule()).unwrap();
    timeline.messages = (0..20_000_u64)
        .map(|number| Message {
            from: 3,
            to: 0,
            sent: number * timeline.ended / 20_000,
            arrived: vec![number * timeline.ended / 20_000 + 500],
            bytes: 100,
        })
        .collect();
    // A frame is painted ten times, all of it in view.
    let timed = "
        const begun = performance.now();
        for (let frame = 0; frame < 10; frame++) paint();
        document.body.dataset.frame = Math.ceil((performance.now() - begun) / 10);";
    let (body, dom) = opened(dir.path(), &timeline, "", timed);
    assert_eq!(number(&body, "messages"), 20_000);
    assert!(dom.contains("messages is drawn: zoom in"));
    assert!(number(&body, "frame") < 500, "a frame takes {} ms", number(&body, "frame"));
    println!("a frame of 20000 messages takes {} ms", number(&body, "frame"));
}
