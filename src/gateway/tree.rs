//! A folder that stands for `/`: what the box says about itself below /proc and /sys, or a made-up box's.

use std::fs;
use std::path::Path;
use std::str::FromStr;

pub struct Tree<'a>(pub &'a Path);

impl Tree<'_> {
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path)).ok()
    }

    pub fn line(&self, path: &str) -> Option<String> {
        self.text(path)?.lines().next().map(|line| line.trim().to_owned())
    }

    pub fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    pub fn numbers(&self, path: &str) -> Vec<u64> {
        self.text(path).unwrap_or_default().split_whitespace().map_while(|word| word.parse().ok()).collect()
    }
}
