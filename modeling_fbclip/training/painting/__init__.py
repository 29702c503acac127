"""The painter of defects: noise, outlines, kinds of defect. The recipe of the bundled model paints with it, too."""
