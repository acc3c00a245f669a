// How far a server has been heard of, kept in a file: nothing older counts, also for who is started again.
#pragma once

#include <string>

#include "resources/revisions.h"

namespace ocicat::api {

// The further of both; another incarnation counts anew.
void advance(Progress& furthest, const Progress& now);

// What is kept is never newer than what was learned; older by what was not kept yet. Of a server that does not name
// incarnations nothing is kept.
class Heard {
 public:
  // Reads what was kept. A file that is missing, or not one of these, means that nothing has been heard. Empty: there
  // is no file.
  explicit Heard(std::string path);

  Progress of(Kind kind) const;
  // True: there is something to keep.
  bool learn(const Revisions& news);
  void keep();

 private:
  const std::string path_;
  Revisions newest_;
  Revisions kept_;
  bool failing_ = false;
};

}  // namespace ocicat::api
