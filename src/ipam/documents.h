// What address management needs of the API, and no more: documents that are read, and written against the
// revision that they were read at. Over it lies all that makes sure that no address is given twice, so tests
// put something in its place that loses, delays and refuses.
#pragma once

#include <boost/json/object.hpp>

#include <string>
#include <vector>

#include "base/result.h"
#include "resources/kinds.h"

namespace ocicat::ipam {

struct Write {
  enum class Verb { kCreate, kUpdate, kDelete };
  Verb verb = Verb::kCreate;
  ResourceKey key;
  boost::json::object object;  // kCreate, kUpdate; an update carries metadata.resourceVersion
  std::string revision;        // kDelete: of the document to delete
};

// Errors that callers branch on: kNotFound; kAlreadyExists and kConflict: nothing was written; kUnavailable:
// nobody knows whether it was.
class Documents {
 public:
  virtual ~Documents() = default;

  virtual Result<std::vector<boost::json::object>> list(Kind kind) = 0;
  // Several at once, each alone; answers in the order of what was asked.
  virtual std::vector<Result<boost::json::object>> get(const std::vector<ResourceKey>& keys) = 0;
  // The same; in no order among each other. Each answer is the document as it now stands (was, for kDelete).
  virtual std::vector<Result<boost::json::object>> write(std::vector<Write> writes) = 0;

  Result<boost::json::object> get(const ResourceKey& key);
  Result<boost::json::object> create(boost::json::object object);
  Result<boost::json::object> update(boost::json::object object);
  Result<boost::json::object> remove(const ResourceKey& key, std::string_view revision);
};

Write create_of(boost::json::object object);
Write update_of(boost::json::object object);
Write delete_of(const ResourceKey& key, std::string_view revision);

}  // namespace ocicat::ipam
