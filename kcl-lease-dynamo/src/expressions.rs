//! Expressions of the service, built piece by piece with placeholders for every name and value.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// Names, values, a condition and an update that share their placeholders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
    conditions: Vec<String>,
    sets: Vec<String>,
    removes: Vec<String>,
}

impl Expression {
    /// The placeholder of an attribute name; the same one for the same name, because the service
    /// refuses names that an expression does not use.
    pub fn name(&mut self, attribute: &str) -> String {
        let known = self.names.iter().find(|(_, name)| *name == attribute);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// A fresh placeholder of a value.
    pub fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    /// One more condition; all must hold.
    pub fn require(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    pub fn require_exists(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.require(format!("attribute_exists({name})"));
    }

    pub fn require_absent(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.require(format!("attribute_not_exists({name})"));
    }

    /// `attribute <operator> value`.
    pub fn compare(&mut self, attribute: &str, operator: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.require(format!("{name} {operator} {value}"));
    }

    pub fn set(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {value}"));
    }

    /// Sets the attribute, or removes it if there is no value.
    pub fn set_or_remove(&mut self, attribute: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(attribute),
        }
    }

    pub fn set_if_absent(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = if_not_exists({name}, {value})"));
    }

    pub fn add(&mut self, attribute: &str, value: AttributeValue) {
        let (name, value) = (self.name(attribute), self.value(value));
        self.sets.push(format!("{name} = {name} + {value}"));
    }

    pub fn remove(&mut self, attribute: &str) {
        let name = self.name(attribute);
        self.removes.push(name);
    }

    pub fn set_entry(&mut self, map: &str, entry: &str, value: AttributeValue) {
        let path = self.entry(map, entry);
        let value = self.value(value);
        self.sets.push(format!("{path} = {value}"));
    }

    pub fn remove_entry(&mut self, map: &str, entry: &str) {
        let path = self.entry(map, entry);
        self.removes.push(path);
    }

    /// The path of one entry of a map attribute.
    pub fn entry(&mut self, map: &str, entry: &str) -> String {
        format!("{}.{}", self.name(map), self.name(entry))
    }

    pub fn names(&self) -> HashMap<String, String> {
        self.names.clone()
    }

    /// The values; `None` if there are none, because the service refuses an empty map.
    pub fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// The condition; `None` if the write always applies.
    pub fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// The update; `None` if nothing changes.
    pub fn update(&self) -> Option<String> {
        let clause = |word: &str, parts: &[String]| {
            (!parts.is_empty()).then(|| format!("{word} {}", parts.join(", ")))
        };
        let clauses = [clause("SET", &self.sets), clause("REMOVE", &self.removes)];
        let update = clauses.into_iter().flatten().collect::<Vec<_>>().join(" ");
        (!update.is_empty()).then_some(update)
    }
}
