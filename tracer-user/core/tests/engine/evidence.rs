//! When a message was processed: every kind of evidence, and what is none.

use insta::assert_snapshot;
use tracer_abi::Role;
use tracer_core::model::{Span, Status, attribute::*};

use super::support::*;

/// A consumer that was given the messages 1, 2 and 3 of `orders` at 10 ms, by the pull 1.
fn given() -> (Script, Conn) {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(10).read(c, found(1, 4, &three()));
    (s, c)
}

fn three() -> [Message; 3] {
    [
        message("orders", 1, K1),
        message("orders", 2, K2),
        message("orders", 3, K3),
    ]
}

/// The evidence of the three, in the order of their ends.
fn evidence(s: &Script) -> String {
    let line = |line: &str| {
        let field = |name: &str| {
            line.split(' ')
                .find(|part| part.starts_with(name))
                .unwrap_or("-")
                .to_owned()
        };
        let interval = line
            .split(' ')
            .find(|part| part.contains(".."))
            .expect("an interval");
        [
            field("queue_offset"),
            field("evidence"),
            interval.to_owned(),
            field("end_uncertainty_ms"),
        ]
        .join(" ")
    };
    brief(&s.spans()).lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_next_pulls_commit() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, Some(3)));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=3 evidence=none 11..11 -
    "#);
}

#[test]
fn a_timers_commit() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 2));
    // C++ wants an answer to it
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 4));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 11..31 end_uncertainty_ms=20
    queue_offset=3 evidence=offset_commit 11..31 end_uncertainty_ms=20
    "#);
}

#[test]
fn a_commit_without_the_brokers_name_and_on_another_connection() {
    let (mut s, _) = given();
    let d = s.connect();
    let bare = request(UPDATE_OFFSET, 9)
        .field("consumerGroup", "cg")
        .field("topic", "orders")
        .field("queueId", 0)
        .field("commitOffset", 4);
    s.at(20).write(d, bare);
    s.at(21).read(d, response(0, 9));
    assert!(evidence(&s).lines().all(|line| line.contains("offset_commit")));
}

#[test]
fn timers_commits_that_stand_at_a_message() {
    let (mut s, c) = given();
    for (ms, offset) in [(20, 1), (30, 2), (4040, 2), (5050, 2), (6060, 4)] {
        s.at(ms).write(c, update_offset(2, "cg", "orders", 0, offset));
    }
    // message 2 was unfinished when the value at 5050 was read, but for the hand-over, and that was after the frame at 4040
    // was written
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..31 end_uncertainty_ms=20
    queue_offset=2 evidence=offset_commit 11..6061 end_uncertainty_ms=3021
    queue_offset=3 evidence=offset_commit 11..6061 end_uncertainty_ms=6050
    "#);
}

#[test]
fn a_first_standing_commit_from_before_the_delivery_proves_nothing() {
    let mut s = Script::new();
    let c = s.connect();
    s.at(1).write(c, pull(1, "cg", "orders", 0, 1, None));
    s.at(2).write(c, update_offset(2, "cg", "orders", 0, 1));
    s.at(10).read(c, found(1, 2, &[message("orders", 1, K1)]));
    s.at(20).write(c, update_offset(3, "cg", "orders", 0, 1));
    s.at(30).write(c, update_offset(4, "cg", "orders", 0, 2));
    assert_snapshot!(evidence(&s), @r#"queue_offset=1 evidence=offset_commit 11..31 end_uncertainty_ms=20"#);
}

#[test]
fn a_pull_that_stands_at_a_message_was_read_after_the_answer_before() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, Some(1)));
    s.at(4040).read(c, empty(2, 19, 4));
    s.at(5050).write(c, pull(3, "cg", "orders", 0, 4, Some(1)));
    s.at(6060).write(c, update_offset(4, "cg", "orders", 0, 4));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..6061 end_uncertainty_ms=3020
    queue_offset=2 evidence=offset_commit 11..6061 end_uncertainty_ms=6050
    queue_offset=3 evidence=offset_commit 11..6061 end_uncertainty_ms=6050
    "#);
}

/// C++ hands an answer's messages over one by one, and counts them when it is through with all: it stands at a message whose
/// handler ended seconds ago.
#[test]
fn a_commit_of_cpp_that_stands_at_a_message_proves_nothing() {
    let (mut s, c) = given();
    let pull = |opaque, commit| pull(opaque, "cg", "orders", 0, 4, Some(commit)).language("CPP");
    s.at(20).write(c, pull(2, 1));
    s.at(4040).read(c, empty(2, 19, 4));
    s.at(5050).write(c, pull(3, 1));
    s.at(5060).read(c, empty(3, 19, 4));
    s.at(6060).write(c, pull(4, 4));
    assert!(evidence(&s).contains("queue_offset=1 evidence=offset_commit 11..6061 end_uncertainty_ms=6050"));
}

/// Between the handler's end and the client's account of it a busy machine may run something else: seen were 7 ms.
#[test]
fn a_commit_that_stands_at_a_message_may_be_behind_its_handler() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, Some(1)));
    s.at(40).read(c, empty(2, 19, 4));
    s.at(50).write(c, pull(3, "cg", "orders", 0, 4, Some(1)));
    s.at(60).write(c, update_offset(4, "cg", "orders", 0, 4));
    assert!(evidence(&s).contains("queue_offset=1 evidence=offset_commit 11..61 end_uncertainty_ms=50"));
}

#[test]
fn the_two_kinds_of_commit_overtake_each_other() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 3));
    s.at(21).write(c, pull(3, "cg", "orders", 0, 4, Some(2)));
    s.at(30).write(c, update_offset(4, "cg", "orders", 0, 4));
    assert!(evidence(&s).lines().all(|line| line.contains("offset_commit")));
    assert_eq!(s.totals().offset_resets, 0);
}

#[test]
fn sent_back_and_delivered_again() {
    let (mut s, c) = given();
    let [first, second, _] = three();
    s.at(20).write(c, send_back(2, "cg", &second));
    s.at(25).read(c, response(0, 2));
    s.at(30).write(c, pull(3, "cg", "orders", 0, 4, Some(4)));
    s.at(40).write(c, pull(4, "cg", "%RETRY%cg", 0, 0, None));
    let retried = second.clone().retried("cg", 0, 1).with("ORIGIN_MESSAGE_ID=C0A8");
    s.at(50).read(c, found(4, 1, std::slice::from_ref(&retried)));
    s.at(60).write(c, send_back(5, "cg", &retried));
    let again = second.clone().retried("cg", 1, 2);
    s.at(70).write(c, pull(6, "cg", "%RETRY%cg", 0, 1, Some(1)));
    // not seen to fail: the retry of another message
    s.at(80).read(c, found(6, 3, &[again, first.retried("cg", 2, 1)]));
    s.at(90).write(c, pull(7, "cg", "%RETRY%cg", 0, 3, Some(3)));
    assert_snapshot!(brief(&s.spans()));
}

/// Somebody else reads the dead letters: they link the last attempt of the group that gave the message up.
#[test]
fn a_dead_letter_links_the_last_attempt() {
    let (mut s, c) = given();
    let [_, second, _] = three();
    s.at(20).write(c, send_back(2, "cg", &second));
    s.at(30).write(c, pull(3, "letters", "%DLQ%cg", 0, 0, None));
    let letter = |offset, attempt| Message {
        topic: "%DLQ%cg".to_owned(),
        ..second.clone().retried("cg", offset, attempt)
    };
    s.at(40).read(c, found(3, 2, &[letter(0, 1), letter(1, 5)]));
    let spans = s.spans();
    let failed = spans.iter().find(|span| span.status != Status::Unset).unwrap();
    let of_letter = |attempt: i64| {
        let attempt = Some(attempt.into());
        let is = |span: &&Span| {
            span.topic.starts_with("%DLQ%")
                && span.attribute(MESSAGING_ROCKETMQ_RECONSUME_TIMES) == attempt.as_ref()
        };
        let links = &spans.iter().find(is).unwrap().links;
        links.iter().map(|link| link.context).collect::<Vec<_>>()
    };
    let creation = failed.links[0].context;
    assert_eq!(of_letter(1), [creation, failed.context]);
    assert_eq!(of_letter(5), [creation], "the attempt before was not seen");
}

#[test]
fn a_send_back_must_mean_the_message() {
    let (mut s, c) = given();
    let [first, ..] = three();
    // the same commit-log offset at another broker, and another group
    s.at(20).write(
        c,
        send_back(
            2,
            "cg",
            &Message {
                properties: format!("UNIQ_KEY={K3}"),
                ..first.clone()
            },
        ),
    );
    s.at(21).write(c, send_back(3, "other", &first));
    s.at(30).write(c, pull(4, "cg", "orders", 0, 4, Some(4)));
    assert!(evidence(&s).lines().all(|line| line.contains("offset_commit")));
}

#[test]
fn sent_to_the_retry_topic_by_the_client_itself() {
    let (mut s, c) = given();
    s.at(20)
        .write(c, send_back(2, "cg", &message("orders", 99, "unknown")));
    let with = format!("ORIGIN_MESSAGE_ID={K2};UNIQ_KEY=new;RETRY_TOPIC=orders;DELAY=3");
    s.at(30).write(c, send(3, "%RETRY%cg", &with));
    s.at(35).read(c, sent(3, 0));
    assert_snapshot!(brief(&s.spans()));
}

#[test]
fn a_reset_backwards_proves_nothing() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 2));
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 1));
    s.at(40).write(c, update_offset(4, "cg", "orders", 0, 4));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=none 11..11 -
    queue_offset=3 evidence=none 11..11 -
    "#);
    assert_eq!(s.totals().offset_resets, 2);
}

#[test]
fn after_a_reset_backwards_the_redelivery_counts() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 3));
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 1));
    s.at(40).write(c, pull(4, "cg", "orders", 0, 1, Some(1)));
    s.at(50).read(c, found(4, 4, &three()));
    s.at(60).write(c, pull(5, "cg", "orders", 0, 4, Some(4)));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=3 evidence=none 11..11 -
    queue_offset=1 evidence=offset_commit 51..61 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 51..61 end_uncertainty_ms=10
    queue_offset=3 evidence=offset_commit 51..61 end_uncertainty_ms=10
    "#);
}

#[test]
fn a_client_that_goes_back_but_not_with_its_offset() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 4));
    // as the C++ client does when it is told to reset
    s.at(30).write(c, pull(3, "cg", "orders", 0, 1, Some(4)));
    s.at(40).read(c, found(3, 4, &three()));
    s.at(50).write(c, pull(4, "cg", "orders", 0, 4, Some(4)));
    s.at(60).write(c, update_offset(5, "cg", "orders", 0, 4));
    s.at(70).read(c, found(4, 5, &[message("orders", 4, "later")]));
    s.at(80).write(c, pull(6, "cg", "orders", 0, 5, Some(4)));
    s.at(90).write(c, update_offset(7, "cg", "orders", 0, 5));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=3 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=1 evidence=offset_commit 41..91 end_uncertainty_ms=50
    queue_offset=2 evidence=offset_commit 41..91 end_uncertainty_ms=50
    queue_offset=3 evidence=offset_commit 41..91 end_uncertainty_ms=50
    queue_offset=4 evidence=offset_commit 71..91 end_uncertainty_ms=20
    "#);
}

#[test]
fn a_commit_ahead_of_its_own_pull_proves_nothing() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 4));
    // told to reset, the C++ client commits twice, and goes on with its offset of before all the same
    s.at(30).write(c, update_offset(3, "cg", "orders", 0, 1));
    s.at(32).write(c, update_offset(4, "cg", "orders", 0, 1));
    s.at(40).write(c, pull(5, "cg", "orders", 0, 1, Some(4)));
    s.at(50).read(c, found(5, 4, &three()));
    s.at(60).write(c, pull(6, "cg", "orders", 0, 4, Some(4)));
    s.at(70).write(c, update_offset(7, "cg", "orders", 0, 4));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=3 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=1 evidence=none 51..51 -
    queue_offset=2 evidence=none 51..51 -
    queue_offset=3 evidence=none 51..51 -
    "#);
}

#[test]
fn a_reset_beyond_what_was_delivered_proves_nothing() {
    let (mut s, c) = given();
    s.at(20).write(c, update_offset(2, "cg", "orders", 0, 500));
    s.at(30).write(c, pull(3, "cg", "orders", 0, 500, Some(500)));
    s.at(40)
        .read(c, found(3, 501, &[message("orders", 500, "later")]));
    s.at(50).write(c, pull(4, "cg", "orders", 0, 501, Some(501)));
    // a send-back still tells
    s.at(60).write(c, send_back(5, "cg", &three()[1]));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=500 evidence=offset_commit 41..51 end_uncertainty_ms=10
    queue_offset=2 evidence=send_back 11..61 -
    queue_offset=1 evidence=none 11..11 -
    queue_offset=3 evidence=none 11..11 -
    "#);
}

#[test]
fn a_reset_that_shows_in_the_pull_first() {
    let (mut s, c) = given();
    s.at(30).write(c, pull(3, "cg", "orders", 0, 500, None));
    s.at(40)
        .read(c, found(3, 501, &[message("orders", 500, "later")]));
    s.at(50).write(c, pull(4, "cg", "orders", 0, 501, Some(501)));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=500 evidence=offset_commit 41..51 end_uncertainty_ms=10
    queue_offset=1 evidence=none 11..11 -
    queue_offset=2 evidence=none 11..11 -
    queue_offset=3 evidence=none 11..11 -
    "#);
}

#[test]
fn after_a_lost_answer_commits_below_it_still_count() {
    let (mut s, c) = given();
    // the answer that brought 4 to 6 was lost
    s.at(30).write(c, pull(3, "cg", "orders", 0, 7, Some(3)));
    s.at(40).write(c, update_offset(4, "cg", "orders", 0, 6));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..31 end_uncertainty_ms=20
    queue_offset=2 evidence=offset_commit 11..31 end_uncertainty_ms=20
    queue_offset=3 evidence=none 11..11 -
    "#);
}

#[test]
fn an_offset_moved_answer_is_a_reset() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, None));
    s.at(30).read(c, empty(2, 21, 500));
    s.at(40).write(c, update_offset(3, "cg", "orders", 0, 500));
    s.at(50).write(c, pull(4, "cg", "orders", 0, 500, Some(500)));
    assert!(evidence(&s).lines().all(|line| line.contains("none")));
}

#[test]
fn a_client_that_is_told_to_reset_proves_nothing() {
    let (mut s, c) = given();
    s.at(20).read(
        c,
        request(220, 9)
            .field("group", "cg")
            .field("topic", "orders")
            .one_way(),
    );
    s.at(30).write(c, pull(2, "cg", "orders", 0, 4, Some(4)));
    assert!(evidence(&s).lines().all(|line| line.contains("none")));
}

#[test]
fn a_queue_that_comes_back_exactly_where_it_stood_proves_nothing() {
    let (mut s, c) = given();
    let query = request(14, 9)
        .field("consumerGroup", "cg")
        .field("topic", "orders")
        .field("queueId", 0);
    s.at(20).write(c, query.field("bname", "broker-a"));
    s.at(21).read(c, response(0, 9).field("offset", 4));
    s.at(30).write(c, pull(2, "cg", "orders", 0, 4, Some(4)));
    assert!(evidence(&s).lines().all(|line| line.contains("none")));
}

#[test]
fn a_second_pull_while_one_waits_is_a_new_beginning() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, Some(2)));
    s.at(30).write(c, pull(3, "cg", "orders", 0, 4, Some(4)));
    assert_snapshot!(evidence(&s), @r"
    queue_offset=1 evidence=offset_commit 11..21 end_uncertainty_ms=10
    queue_offset=2 evidence=none 11..11 -
    queue_offset=3 evidence=none 11..11 -
    ");
}

#[test]
fn a_pull_that_was_given_up_goes_on() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 4, None));
    s.at(30).close(c);
    let d = s.connect();
    s.at(40).write(d, pull(3, "cg", "orders", 0, 4, None));
    s.at(50).read(d, empty(3, 1, 4));
    s.at(60).write(d, pull(4, "cg", "orders", 0, 4, Some(4)));
    assert!(evidence(&s).lines().all(|line| line.contains("offset_commit")));
}

#[test]
fn a_redelivery_ends_the_delivery_before() {
    let (mut s, c) = given();
    s.at(20).write(c, pull(2, "cg", "orders", 0, 1, None));
    s.at(30).read(c, found(2, 4, &three()));
    s.at(40).write(c, pull(3, "cg", "orders", 0, 4, Some(4)));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=none 11..11 -
    queue_offset=2 evidence=none 11..11 -
    queue_offset=3 evidence=none 11..11 -
    queue_offset=1 evidence=offset_commit 31..41 end_uncertainty_ms=10
    queue_offset=2 evidence=offset_commit 31..41 end_uncertainty_ms=10
    queue_offset=3 evidence=offset_commit 31..41 end_uncertainty_ms=10
    "#);
}

#[test]
fn time_runs_out() {
    let (mut s, _) = given();
    s.wait(15 * 60_000 + 12);
    let ended = s.spans();
    s.events.pop();
    assert_eq!(brief(&ended), brief(&s.spans()));
    assert_eq!(s.totals().ended_by_nothing, 3);
}

#[test]
fn a_consumer_that_shuts_down_commits_over_another_connection() {
    let (mut s, c) = given();
    let d = s.connect();
    s.at(20).close(c);
    s.at(9_000).write(d, update_offset(2, "cg", "orders", 0, 3));
    s.wait(10_019).wait(10_020);
    s.at(10_021).write(d, update_offset(3, "cg", "orders", 0, 4));
    assert_snapshot!(evidence(&s), @r#"
    queue_offset=1 evidence=offset_commit 11..9001 end_uncertainty_ms=8990
    queue_offset=2 evidence=offset_commit 11..9001 end_uncertainty_ms=8990
    queue_offset=3 evidence=none 11..11 -
    "#);
}

#[test]
fn a_consumer_that_reconnects_goes_on() {
    let (mut s, c) = given();
    s.at(20).close(c);
    let d = s.connect();
    s.at(1_000).write(d, pull(2, "cg", "orders", 0, 4, Some(1)));
    s.wait(20_000);
    s.at(20_001).write(d, update_offset(3, "cg", "orders", 0, 4));
    assert!(evidence(&s).lines().all(|line| line.contains("offset_commit")));
}

#[test]
fn a_process_that_ends_proves_nothing_more() {
    let (mut s, c) = given();
    s.at(20).exit(100);
    s.at(30).write(c, update_offset(2, "cg", "orders", 0, 4));
    assert!(evidence(&s).lines().all(|line| line.contains("none")));
}

#[test]
fn other_processes_commits_do_not_count() {
    let (mut s, _) = given();
    let other = s.connect_as(200, Role::CLIENT, true);
    s.at(20).write(other, update_offset(2, "cg", "orders", 0, 4));
    assert!(evidence(&s).lines().all(|line| line.contains("none")));
}
