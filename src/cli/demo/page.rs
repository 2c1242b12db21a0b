//! The demo's page: HTML, style, script and city in one document without external resources.

use std::net::SocketAddr;

use serde_json::json;

use super::route::CITY;

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In the order of their dependencies.
const SCRIPTS: [&str; 5] = [
    include_str!("page/connection.js"),
    include_str!("page/map.js"),
    include_str!("page/rides.js"),
    include_str!("page/chat.js"),
    include_str!("page/page.js"),
];

/// The document; the addresses and the binary are for the commands that it shows.
pub fn page(admin: SocketAddr, bus: SocketAddr, program: &str) -> String {
    let demo = format!(r#"{{"admin":"{admin}","bus":"{bus}","program":{},"city":{CITY}}}"#, json!(program));
    HTML.replace("/*{page.css}*/", STYLE)
        .replace("/*{page.js}*/", &SCRIPTS.concat())
        // A "</script>" inside the JSON would end the element.
        .replace("{demo.json}", &demo.replace("</", "<\\/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_document_without_places_left_to_fill() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9180));
        let page = page(address, address, "tidegate");
        assert!(page.ends_with("</html>\n") && page.contains("\"127.0.0.1:9180\""));
        for left in ["{page.css}", "{page.js}", "{demo.json}"] {
            assert!(!page.contains(left), "{left}");
        }
        assert_eq!(page.matches("</script>").count(), 2);
    }

    #[test]
    fn loads_nothing_from_elsewhere() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9180));
        let page = page(address, address, "tidegate").replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains("src=\"") && !page.contains("@import") && !page.contains("url("));
        assert_eq!(page.matches("http://").count(), 1, "only the command that publishes names a scheme");
    }
}
