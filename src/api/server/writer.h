// Creates, replaces and deletes objects: from a checked object to an edit of the store and the answer to it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/server/body.h"
#include "api/server/failure.h"
#include "store/store.h"

namespace ocicat::api {

// The stored text of the object after a create or update, before a delete, and its revision (0 for a dry run
// of a create).
struct Written {
  store::Text text;
  store::Revision revision = 0;
};
using OnWritten = std::function<void(Answer<Written>)>;

// Callbacks come from the store's thread, or at once. Nothing is stored by a dry run, which answers as if.
class Writer {
 public:
  explicit Writer(store::Store& store) : store_(store) {}

  void create(Submitted submitted, bool dry_run, OnWritten on_written);
  void update(Submitted submitted, bool dry_run, OnWritten on_written);
  void remove(const ResourceKey& key, const DeleteOptions& options, OnWritten on_written);

 private:
  struct Attempt;
  void run(const std::shared_ptr<Attempt>& attempt, bool dry_run, OnWritten on_written);

  store::Store& store_;
  // Whether the store could not keep what it was given last, which is logged when it begins and when it ends.
  // Of the store's thread, whose answers may come when the writer is gone.
  std::shared_ptr<bool> failing_ = std::make_shared<bool>(false);
};

}  // namespace ocicat::api
