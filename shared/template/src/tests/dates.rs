//! `Format` with dates, the caller's clock, and moving dates.

use super::{check, check_filters, options};
use crate::{Variables, render};

#[test]
fn dates_are_read_in_many_spellings() {
    check_filters(&[
        (
            "2030-05-04",
            "Format Date \"yyyy MM dd HH mm\"",
            "2030 05 04 00 00",
        ),
        (
            "2030/05/04 09:07:03",
            "Format Date s",
            "2030-05-04T09:07:03",
        ),
        ("2030-05-04T09:07", "Format Date s", "2030-05-04T09:07:00"),
        (
            "2030-05-04T09:07:03.1234567Z",
            "Format Date O",
            "2030-05-04T09:07:03.1234567+00:00",
        ),
        (
            "2030-05-04T09:07:03+02:00",
            "Format Date s",
            "2030-05-04T07:07:03",
        ),
        (
            "2030-05-04T09:07:03+02:00",
            "Format DateTimeOffset s",
            "2030-05-04T09:07:03",
        ),
        (
            "2030-05-04T09:07:03+0230",
            "Format DateTimeOffset zzz",
            "+02:30",
        ),
        ("5/4/2030", "Format Date s", "2030-05-04T00:00:00"),
        ("5/4/30 3:07 PM", "Format Date s", "2030-05-04T15:07:00"),
        (
            "05-04-1999 12:00 am",
            "Format Date s",
            "1999-05-04T00:00:00",
        ),
        ("4 May 2030", "Format Date s", "2030-05-04T00:00:00"),
        ("May 4, 2030 9:07", "Format Date s", "2030-05-04T09:07:00"),
        ("04-may-2030", "Format Date s", "2030-05-04T00:00:00"),
        (
            "Saturday, May 4, 2030",
            "Format Date s",
            "2030-05-04T00:00:00",
        ),
        (
            "Sat, 04 May 2030 09:07:03 GMT",
            "Format DateTimeOffset O",
            "2030-05-04T09:07:03.0000000+00:00",
        ),
        ("May 2031", "Format Date s", "2031-05-01T00:00:00"),
        ("2031-07", "Format Date s", "2031-07-01T00:00:00"),
        ("09:30", "Format Date s", "2030-05-04T09:30:00"),
        ("2030-13-01", "Format Date s", "-"),
        ("2030-02-30", "Format Date s", "-"),
        ("2030-05-04 25:00", "Format Date s", "-"),
        ("13:00 PM", "Format Date s", "-"),
        ("yesterday", "Format Date s", "-"),
        ("", "Format Date s", "-"),
        // Without a type what is no number is tried as a date.
        ("2030-05-04", "Format yyyy", "2030"),
        ("2030-05-04", "Format yyyy-MM", "2030-05"),
        ("someday", "Format yyyy", "-"),
    ]);
}

#[test]
fn dates_are_written_in_all_formats() {
    let at = "2030-05-04 15:07:03.25";
    for (format, expected) in [
        ("d", "5/4/2030"),
        ("D", "Saturday, May 4, 2030"),
        ("f", "Saturday, May 4, 2030 3:07 PM"),
        ("F", "Saturday, May 4, 2030 3:07:03 PM"),
        ("g", "5/4/2030 3:07 PM"),
        ("G", "5/4/2030 3:07:03 PM"),
        ("m", "May 4"),
        ("M", "May 4"),
        ("o", "2030-05-04T15:07:03.2500000"),
        ("R", "Sat, 04 May 2030 15:07:03 GMT"),
        ("s", "2030-05-04T15:07:03"),
        ("t", "3:07 PM"),
        ("T", "3:07:03 PM"),
        ("u", "2030-05-04 15:07:03Z"),
        ("Y", "May 2030"),
        ("dd/MM/yyyy", "04/05/2030"),
        ("d-M-yy", "4-5-30"),
        ("ddd dddd", "Sat Saturday"),
        ("MMM MMMM", "May May"),
        ("yyy yyyyy", "2030 02030"),
        ("hh:mm:ss tt", "03:07:03 PM"),
        ("h t", "3 P"),
        ("HH H", "15 15"),
        ("m s", "7 3"),
        ("ss.fff", "03.250"),
        ("ss.FFFF", "03.25"),
        ("zz zzz", "+00 +00:00"),
        ("%d", "4"),
        ("yyyy'year'", "2030year"),
        ("HH\\hmm", "15h07"),
        ("yyyy, MM.", "2030, 05."),
        ("Q", "-"),
        ("yyyy'open", "-"),
    ] {
        check_filters(&[(at, &format!("Format DateTime \"{format}\""), expected)]);
    }
    check_filters(&[
        ("2030-05-04 15:07:03", "Format DateTime \"ss.FFFF\"", "03"),
        ("2030-05-04 00:05:00", "Format DateTime \"h tt\"", "12 AM"),
        (
            "2030-05-04T09:07:03Z",
            "Format DateTimeOffset \"%K\"",
            "+00:00",
        ),
        ("2030-05-04T09:07:03Z", "Format DateTimeOffset K", "-"),
        (
            "2030-05-04T09:07:03-05:30",
            "Format DateTimeOffset \"%K\"",
            "-05:30",
        ),
        (
            "2030-05-04T09:07:03-05:30",
            "Format DateTimeOffset u",
            "2030-05-04 14:37:03Z",
        ),
        (
            "2030-05-04T09:07:03-05:30",
            "Format DateTimeOffset \"%z\"",
            "-5",
        ),
    ]);
}

#[test]
fn now_comes_from_the_caller() {
    check(&[
        (&[], "#{ | NowDate}", "2030-05-04T09:07:03.2500000"),
        (&[], "#{ | NowDateUtc}", "2030-05-04T09:07:03.2500000Z"),
        (&[], "#{|NowDate yyyy}", "2030"),
        (&[], "#{ | NowDate \"dd MMM\"}", "04 May"),
        (&[], "#{ | NowDateUtc \"HH:mm\"}", "09:07"),
        (&[], "#{ | NowDate | Format Date MMM}", "May"),
        (&[], "#{ | NowDateUtc | Format DateTimeOffset zz}", "+00"),
        (&[], "#{ | NowDate a b}", "#{ | NowDate a b}"),
        (&[("A", "x")], "#{A | NowDate}", "#{A | NowDate}"),
        (&[("A", "yy"), ("B", "#{ | NowDate #{A}}")], "#{B}", "30"),
    ]);
    let mut east = options();
    east.offset = jiff::tz::Offset::from_seconds(-(5 * 3600 + 1800)).unwrap();
    let rendered = render(
        "#{ | NowDate} #{ | NowDateUtc s} #{ | NowDate zzz}",
        &Variables::new(),
        &east,
    )
    .unwrap();
    assert_eq!(
        rendered.text,
        "2030-05-04T03:37:03.2500000 2030-05-04T09:07:03 -05:30"
    );
}

#[test]
fn dates_are_moved() {
    check_filters(&[
        ("2030-05-04", "AddDays 1", "2030-05-05T00:00:00.0000000"),
        (
            "2030-05-04T10:00:00Z",
            "AddHours -11",
            "2030-05-03T23:00:00.0000000Z",
        ),
        (
            "2030-05-04T10:00:00+02:00",
            "AddMinutes 90",
            "2030-05-04T11:30:00.0000000+02:00",
        ),
        (
            "2030-05-04",
            "AddSeconds \"0.5\"",
            "2030-05-04T00:00:00.5000000",
        ),
        (
            "2030-05-04",
            "AddHours \"1.5\"",
            "2030-05-04T01:30:00.0000000",
        ),
        ("2030-05-04", "AddWeeks 2", "2030-05-18T00:00:00.0000000"),
        ("2030-01-31", "AddMonths 1", "2030-02-28T00:00:00.0000000"),
        ("2030-01-31", "AddMonths -2", "2029-11-30T00:00:00.0000000"),
        ("2030-01-31", "AddMonths \"1.5\"", "-"),
        (
            "2030-05-04",
            "AddTimeSpan 02:30",
            "2030-05-04T02:30:00.0000000",
        ),
        (
            "2030-05-04",
            "AddTimeSpan \"1.02:00:00.5\"",
            "2030-05-05T02:00:00.5000000",
        ),
        (
            "2030-05-04",
            "AddTimeSpan -3",
            "2030-05-01T00:00:00.0000000",
        ),
        ("2030-05-04", "AddTimeSpan 99:00", "-"),
        ("2030-05-04", "AddDays", "-"),
        ("2030-05-04", "AddDays x", "-"),
        ("2030-05-04", "AddDays 999999999", "-"),
        ("2030-05-04", "AddDays \"1e300\"", "-"),
        ("2030-05-04", "AddMonths 2147483647", "-"),
        ("soon", "AddDays 1", "-"),
        (
            "2030-05-04",
            "AddDays 1 | Format Date \"yyyy-MM-dd\"",
            "2030-05-05",
        ),
    ]);
}
