//! Promises about PROXY headers: the answer depends on the bytes alone, never on where they were cut.

use tidegate::proto::proxy_header::read;

pub fn check(bytes: &[u8], cuts: &[usize]) {
    let whole = read(bytes);
    if let Ok(Some(header)) = &whole {
        assert!(header.size <= bytes.len());
        assert_eq!(read(&bytes[..header.size]), whole, "what follows changes nothing");
    }
    for &cut in cuts {
        match (read(&bytes[..cut]), &whole) {
            (Ok(None), Ok(Some(header))) => assert!(cut < header.size, "it was whole"),
            (Ok(None), _) => {}
            (answer, whole) => assert_eq!(&answer, whole),
        }
    }
}
