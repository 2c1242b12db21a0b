//! What the pages say is true: their command lines can be typed, their keys, files and metrics exist, and their recipes work on a
//! box on which nothing has been installed.

mod commands;
mod markdown;
mod names;
mod recipes;
mod words;
