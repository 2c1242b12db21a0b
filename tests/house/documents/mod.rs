//! What the pages say is true: their command lines can be typed, their keys, files and metrics exist, their recipes work on a box on which
//! nothing has been installed, and their tables say what the code says.

mod commands;
mod markdown;
mod names;
mod recipes;
mod tables;
mod words;
