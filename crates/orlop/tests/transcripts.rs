//! What the command line prints where no daemon is needed: transcripts in `transcripts/`, each run in a
//! copy of the directory of its name.

/// An environment with nothing of the user's in it, and a socket that is not there.
#[test]
fn transcripts() {
    let cases = trycmd::TestCases::new();
    for (name, value) in [
        ("HOME", "/nonexistent"),
        ("ORLOP_SOCKET", "/nonexistent/orlop.sock"),
        ("ORLOP_LOG", "info"),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
        ("CONTAINER_HOST", "unix:///nonexistent/podman.sock"),
        ("LC_ALL", "C"),
        ("COLUMNS", "100"),
        ("NO_COLOR", "1"),
    ] {
        cases.env(name, value);
    }
    cases.case("tests/transcripts/*.trycmd");
}
