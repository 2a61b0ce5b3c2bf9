"""A YAML document that can say where each of its keys stands."""

import yaml

from gitpat_proxy.config.problems import Location, Mistake


class Document:
    """A YAML document that knows the line of every key; a key given twice is a mistake.

    Every key is text, also where YAML would take it for something else (`on`, `1`). Raises
    yaml.YAMLError or ValueError for what is no document, or holds itself by an alias.
    """

    def __init__(self, text: str) -> None:
        self.mistakes: list[Mistake] = []
        self._lines: dict[Location, int] = {(): 1}
        self._open: list[yaml.Node] = []
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                self._walk(node, ())
            self.data: object = loader.construct_document(node) if node is not None else {}
        finally:
            loader.dispose()

    def line_of(self, location: Location) -> int:
        """Return the line of the key, or of the nearest one around it that is in the file."""
        while location not in self._lines:
            location = location[:-1]
        return self._lines[location]

    def _walk(self, node: yaml.Node, location: Location) -> None:
        if node in self._open:
            raise ValueError(f"what line {node.start_mark.line + 1} begins holds itself")
        self._open.append(node)
        self._lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, (*location, index))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._walk_entry(key, value, (*location, str(key.value)))
        self._open.pop()

    def _walk_entry(self, key: yaml.Node, value: yaml.Node, location: Location) -> None:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            key.tag = "tag:yaml.org,2002:str"
        if location in self._lines:
            self.mistakes.append((location, f"given again on line {line}; give it once"))
            return
        self._lines[location] = line
        self._walk(value, location)
