//! Writes to lease rows and worker rows as they go over the wire, in the built-in worker's own
//! words; of other programs' requests it understands nothing and finds nothing.

use serde_json::Value;

/// One update of a row, as the service was asked for it: alone or within a transaction.
pub(super) struct Update<'a>(&'a Value);

impl<'a> Update<'a> {
    /// The updates in one request.
    pub fn all(operation: &str, body: &'a Value) -> Vec<Self> {
        match operation {
            "UpdateItem" => vec![Self(body)],
            "TransactWriteItems" => {
                let items = body["TransactItems"].as_array().into_iter().flatten();
                items
                    .map(|item| &item["Update"])
                    .filter(|item| item.is_object())
                    .map(Self)
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// The row's key, if it is a row keyed by this attribute.
    pub fn key(&self, attribute: &str) -> Option<&'a str> {
        text(&self.0["Key"][attribute])
    }
    /// The table it is made in; empty if it does not say.
    pub fn table(&self) -> &'a str {
        self.0["TableName"].as_str().unwrap_or_default()
    }
    /// What an attribute is set to.
    pub fn sets(&self, attribute: &str) -> Option<&'a Value> {
        self.equals(&self.0["UpdateExpression"], attribute)
    }
    /// What an attribute is required to be.
    pub fn requires(&self, attribute: &str) -> Option<&'a Value> {
        self.equals(&self.0["ConditionExpression"], attribute)
    }
    /// True if it takes an attribute away.
    pub fn removes(&self, attribute: &str) -> bool {
        let removed =
            self.0["UpdateExpression"].as_str().and_then(|text| text.split_once("REMOVE "));
        let name = self.placeholder(attribute);
        removed.zip(name).is_some_and(|((_, names), name)| words(names).any(|word| word == name))
    }
    /// Every value it names.
    pub fn values(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let values = self.0["ExpressionAttributeValues"].as_object();
        values.into_iter().flat_map(|values| values.values())
    }

    fn placeholder(&self, attribute: &str) -> Option<&'a str> {
        let names = self.0["ExpressionAttributeNames"].as_object()?;
        let found = names.iter().find(|(_, name)| name.as_str() == Some(attribute))?;
        Some(found.0)
    }

    /// The value `v` of `name = :v` in an expression.
    fn equals(&self, expression: &Value, attribute: &str) -> Option<&'a Value> {
        let name = self.placeholder(attribute)?;
        let words: Vec<&str> = words(expression.as_str()?).collect();
        let found = words.windows(3).find(|three| three[0] == name && three[1] == "=")?;
        self.0["ExpressionAttributeValues"].get(found[2])
    }
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split([' ', ',']).filter(|word| !word.is_empty())
}

pub(super) fn text(value: &Value) -> Option<&str> {
    value["S"].as_str()
}

pub(super) fn number(value: &Value) -> Option<u64> {
    value["N"].as_str()?.parse().ok()
}
