// How an object stands in the store, and how it leaves it.
//
// The text is compact JSON that begins with apiVersion, kind and metadata, in this order, without a
// resourceVersion: that is the store's to know. It is put in when the object is sent, so that a list or a
// watch of any size copies texts and parses none.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <string_view>

#include "store/store.h"

namespace ocicat::api {

// Any resourceVersion inside is dropped. The object has a `metadata` object.
std::string to_stored_text(const boost::json::object& object);

// The inverse, without a resourceVersion. Our own texts always parse; an empty object for anything else.
boost::json::object from_stored_text(std::string_view text);

// Appends the text with its resourceVersion; 0 leaves it out, as for what a dry run would have made.
void append_object(std::string& out, std::string_view stored_text, store::Revision revision);

// metadata.labels of an object; an empty object where there are none.
const boost::json::object& labels_of(const boost::json::object& object);
const boost::json::object& child_object(const boost::json::object& object, std::string_view name);
std::string_view child_text(const boost::json::object& object, std::string_view name);

}  // namespace ocicat::api
