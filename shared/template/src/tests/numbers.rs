//! `Format` with numbers.

use super::check_filters;

#[test]
fn standard_number_formats() {
    check_filters(&[
        ("4.3", "Format C", "$4.30"),
        ("-1234.567", "Format C", "-$1,234.57"),
        ("4.3", "Format C0", "$4"),
        ("1234567.891", "Format N", "1,234,567.89"),
        ("1234567.891", "Format N0", "1,234,568"),
        ("-0.001", "Format N2", "0.00"),
        ("1234.5", "Format F", "1234.50"),
        ("1234.5", "Format F0", "1235"),
        ("0.125", "Format F2", "0.13"),
        ("0.2", "Format P", "20.00%"),
        ("0.256", "Format P1", "25.6%"),
        ("12345", "Format E", "1.234500E+004"),
        ("0.00012", "Format e2", "1.20e-004"),
        ("0", "Format E1", "0.0E+000"),
        ("99999", "Format E1", "1.0E+005"),
        ("23.40", "Format G", "23.40"),
        ("1234.5678", "Format G3", "1.23E+03"),
        ("1234.5678", "Format G6", "1234.57"),
        ("0.00001234", "Format G2", "1.2E-05"),
        ("42", "Format Int32 D", "42"),
        ("42", "Format Int32 D5", "00042"),
        ("-42", "Format int D5", "-00042"),
        ("255", "Format Int X", "FF"),
        ("255", "Format Int x4", "00ff"),
        ("42", "Format Int N1", "42.0"),
        ("4.5", "Format Int N1", "-"),
        ("42", "Format D", "-"),
        ("42", "Format Decimal X", "-"),
        ("42", "Format Z", "-"),
        ("1.5", "Format Double F3", "1.500"),
        ("1e3", "Format Double N0", "1,000"),
        ("1e3", "Format N0", "-"),
        ("1,234", "Format F1", "1234.0"),
        ("word", "Format N", "-"),
        ("4", "Format", "-"),
        ("4", "Format a b c", "-"),
        ("4", "Format Colour N", "-"),
    ]);
}

#[test]
fn custom_number_formats() {
    check_filters(&[
        ("7", "Format 000", "007"),
        ("1234", "Format 000", "1234"),
        ("3.14159", "Format \"0.00\"", "3.14"),
        ("3.1", "Format \"0.###\"", "3.1"),
        ("3", "Format \"0.###\"", "3"),
        ("0.5", "Format \"#.#\"", ".5"),
        ("0", "Format \"#\"", ""),
        ("1234567.8", "Format \"#,##0.00\"", "1,234,567.80"),
        ("12", "Format \"#,##0\"", "12"),
        ("1234567", "Format \"0,,\"", "1"),
        ("0.1234", "Format \"0.0%\"", "12.3%"),
        ("-5", "Format \"0.0\"", "-5.0"),
        ("-5", "Format \"0;(0)\"", "(5)"),
        ("0", "Format \"0;(0);zero\"", "zero"),
        ("5", "Format \"0;(0);zero\"", "5"),
        ("5", "Format \"'n='0\"", "n=5"),
        ("5", "Format \"0 km\"", "5 km"),
        ("5", "Format \"\\\\x0\"", "\\x5"),
        ("12345", "Format \"0.00E+0\"", "1.23E+4"),
        ("0.00012", "Format \"0.0e-00\"", "1.2e-04"),
        ("5551234", "Format \"000-0000\"", "555-1234"),
        ("2030", "Format yyyy", "yyyy"),
    ]);
}
