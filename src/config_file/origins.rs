//! The layers put one over the other by figment, and the way back: from a key of the result to the place it came from.

use figment::Figment;
use serde::de::DeserializeOwned;

use super::code::Code;
use super::diagnostic::{Diagnostic, Origin, Place, Report, Severity};
use super::layer::Layer;
use super::schema;
use super::tree::Path;

/// All layers, weakest first, and what they make together.
#[derive(Debug)]
pub(super) struct Origins {
    layers: Vec<Layer>,
    merged: Figment,
    pruned: Vec<Path>,
}

impl Origins {
    /// Checks every layer against the schema and merges them. What doesn't fit is reported and left out of the result,
    /// so that the rest can still be judged.
    pub(super) fn merge(layers: Vec<Layer>, report: &mut Report) -> Self {
        let mut trees: Vec<_> = layers.iter().map(|layer| layer.tree.clone()).collect();
        let mut pruned = Vec::new();
        for (layer, tree) in layers.iter().zip(&mut trees).skip(1) {
            for path in schema::check_layer(layer, report) {
                pruned.push(tree.prune(&path));
            }
        }
        let figment = |trees: &[_]| {
            let sources = layers.iter().zip(trees);
            sources.fold(Figment::new(), |all, (layer, tree)| {
                all.merge(layer.provider(tree))
            })
        };
        let mut origins = Self {
            merged: figment(&trees),
            layers: Vec::new(),
            pruned,
        };
        let missing = schema::missing(&origins.merged.extract().unwrap_or_default());
        if !missing.is_empty() {
            for found in missing.iter().filter(|found| !found.lenient) {
                for tree in &mut trees {
                    tree.prune(&found.table);
                }
            }
            origins.merged = figment(&trees);
        }
        origins.layers = layers;
        origins.report_missing(missing, report);
        origins
    }

    fn report_missing(&mut self, missing: Vec<schema::Missing>, report: &mut Report) {
        for schema::Missing { table, key, .. } in missing {
            let absent = table.key(&key);
            // A key that stands there but is wrong was reported already.
            if !self.pruned.contains(&absent) {
                report.push(Diagnostic {
                    severity: Severity::Error,
                    code: Code::MissingKey,
                    message: format!("`{absent}` is missing"),
                    place: self.key_place(&table),
                    label: "in this table".to_owned(),
                    help: None,
                });
            }
            self.pruned.push(table);
        }
    }

    /// Reads the result into a type. `None`: it doesn't fit, which the schema should have told.
    pub(super) fn extract<T: DeserializeOwned>(&self, report: &mut Report) -> Option<T> {
        let told = |error: figment::Error| {
            report.push(Diagnostic {
                severity: Severity::Error,
                code: Code::BadValue,
                message: format!("`{}`: {}", error.path.join("."), error.kind),
                place: self.place(&Path::of(error.path.iter().map(String::as_str))),
                label: String::new(),
                help: None,
            });
        };
        self.merged.extract().map_err(told).ok()
    }

    /// Tells whether something at `path` was left out because it was wrong.
    pub(super) fn is_pruned(&self, path: &Path) -> bool {
        self.pruned.contains(path)
    }

    /// Tells whether something was left out under one of these top-level keys.
    pub(super) fn is_pruned_under(&self, keys: &[&str]) -> bool {
        let first = |path: &Path| path.leading_keys().next().is_some_and(|key| keys.contains(&key));
        self.pruned.iter().any(first)
    }

    /// The place of the value at `path`, or of the nearest table around it.
    pub(super) fn place(&self, path: &Path) -> Option<Place> {
        let layer = self.layer_of(path)?;
        let (_, _, value) = layer.tree.follow(path);
        Some(layer.place(&value))
    }

    /// The place of the last key of `path`.
    pub(super) fn key_place(&self, path: &Path) -> Option<Place> {
        let layer = self.layer_of(path)?;
        let (_, key, _) = layer.tree.follow(path);
        Some(layer.place_of_key(&key))
    }

    /// The folder that a file name at `path` is relative to: that of the file in which it stands. What comes from outside a file
    /// is relative to the working directory.
    pub(super) fn folder_of(&self, path: &Path) -> &std::path::Path {
        match self.layer_of(path).map(|layer| &layer.origin) {
            Some(Origin::File(file)) => file.parent().unwrap_or(std::path::Path::new("")),
            _ => std::path::Path::new(""),
        }
    }

    /// All layers, weakest first.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer that the value at `path` came from, and the path's node in it.
    pub(super) fn layer_of(&self, path: &Path) -> Option<&Layer> {
        let keys: Vec<_> = path.leading_keys().collect();
        let metadata = (0..=keys.len())
            .rev()
            .find_map(|n| self.merged.find_metadata(&keys[..n].join(".")));
        let by_name = metadata.and_then(|m| self.layers.iter().find(|l| l.origin.to_string() == m.name));
        // What was pruned is not in the result; the strongest layer that has it is the one.
        let strongest = || {
            self.layers
                .iter()
                .rev()
                .max_by_key(|layer| layer.tree.follow(path).0)
        };
        let whole = |layer: &&Layer| layer.tree.get(path).is_some();
        by_name.filter(whole).or_else(strongest)
    }
}
